public import X86

/// Where code runs, as far as hosts differ in what they honour there: the processor's mode, and whether it is at CPL 3.
public enum CodeContext: String, Sendable, Hashable, CaseIterable {
    case real
    case virtual8086
    /// Protected mode of 16 or 32 bits, without IA-32e, at CPL 0 to 2.
    case protectedKernel
    case protectedUser
    /// IA-32e mode at CPL 0 to 2.
    case longKernel
    /// 64-bit code at CPL 3.
    case longUser
    /// 16- or 32-bit code at CPL 3 in IA-32e mode.
    case compatibilityUser

    /// - Parameter privilege: CPL, which is SS's DPL (SDM volume 3A, 5.5).
    public init(_ mode: CPUMode, privilege: UInt8) {
        switch mode {
        case .real: self = .real
        case .virtual8086: self = .virtual8086
        case .protected16, .protected32: self = privilege == 3 ? .protectedUser : .protectedKernel
        case .long64: self = privilege == 3 ? .longUser : .longKernel
        case .compatibility16, .compatibility32: self = privilege == 3 ? .compatibilityUser : .longKernel
        }
    }

    public init(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        self.init(CPUMode(registers, special), privilege: special.ss.attributes.privilege)
    }

    /// From 0 on, for a place in a word.
    public var number: UInt8 {
        switch self {
        case .real: 0
        case .virtual8086: 1
        case .protectedKernel: 2
        case .protectedUser: 3
        case .longKernel: 4
        case .longUser: 5
        case .compatibilityUser: 6
        }
    }

    public var isUser: Bool {
        switch self {
        case .virtual8086, .protectedUser, .longUser, .compatibilityUser: true
        case .real, .protectedKernel, .longKernel: false
        }
    }

    /// The code on pages that CPL 3 may use, under the same page tables.
    public var user: CodeContext {
        switch self {
        case .protectedKernel: .protectedUser
        case .longKernel: .longUser
        case .real, .virtual8086, .protectedUser, .longUser, .compatibilityUser: self
        }
    }

    /// What runs where CPL 3 may not, under the same page tables.
    public var kernel: CodeContext {
        switch self {
        case .virtual8086, .protectedUser: .protectedKernel
        case .longUser, .compatibilityUser: .longKernel
        case .real, .protectedKernel, .longKernel: self
        }
    }

    /// For people: "64-bit code at CPL 3".
    public var name: String {
        switch self {
        case .real: "real mode"
        case .virtual8086: "virtual-8086 mode"
        case .protectedKernel: "protected mode"
        case .protectedUser: "protected mode at CPL 3"
        case .longKernel: "64-bit code"
        case .longUser: "64-bit code at CPL 3"
        case .compatibilityUser: "compatibility mode at CPL 3"
        }
    }
}
