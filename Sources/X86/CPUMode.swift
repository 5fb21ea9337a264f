/// The mode that decides how code is decoded and addressed. Source: SDM volume 3A, 2.2 and 3.2.1.
public enum CPUMode: String, Sendable, Hashable, CaseIterable {
    /// CR0.PE is clear.
    case real
    /// RFLAGS.VM is set in protected mode.
    case virtual8086
    /// Protected mode, CS.D clear.
    case protected16
    /// Protected mode, CS.D set.
    case protected32
    /// IA-32e mode with a 16-bit code segment.
    case compatibility16
    /// IA-32e mode with a 32-bit code segment.
    case compatibility32
    /// IA-32e mode with CS.L set.
    case long64

    /// The mode that control registers, flags and the cached CS make.
    ///
    /// - Parameters:
    ///   - cr0: PE.
    ///   - efer: LMA.
    ///   - rflags: VM.
    ///   - cs: L and D of the cached segment.
    public init(cr0: CR0, efer: EFER, rflags: RFlags, cs: SegmentAttributes) {
        if !cr0.contains(.pe) {
            self = .real
        } else if efer.contains(.lma) {
            self = cs.isLong ? .long64 : cs.isBig ? .compatibility32 : .compatibility16
        } else if rflags.contains(.vm) {
            self = .virtual8086
        } else {
            self = cs.isBig ? .protected32 : .protected16
        }
    }

    /// The mode of a vCPU with these registers.
    public init(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        self.init(
            cr0: special.cr0, efer: special.efer, rflags: registers.rflags, cs: special.cs.attributes)
    }

    /// The width that code is decoded at: 16, 32 or 64.
    ///
    /// Real mode too can run with a 32-bit code segment left over from protected mode; use
    /// ``codeWidth(cs:)`` where the segment is at hand.
    public var codeWidth: Int {
        switch self {
        case .real, .virtual8086, .protected16, .compatibility16: 16
        case .protected32, .compatibility32: 32
        case .long64: 64
        }
    }

    /// The width that code is decoded at: the cached D bit counts in real mode too (SDM volume 3A, 9.9.2).
    public func codeWidth(cs: SegmentAttributes) -> Int {
        self == .real && cs.isBig ? 32 : codeWidth
    }

    /// The bytes that a PUSH moves and that a stack slot is shown as: 2, 4 or 8.
    public func stackWidth(ss: SegmentAttributes) -> Int {
        switch self {
        case .long64: 8
        case .virtual8086: 2
        default: ss.isBig ? 4 : 2
        }
    }
}
