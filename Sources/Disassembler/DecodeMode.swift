public import X86

/// How bytes are decoded: the width of code, and what instructions the mode has.
public enum DecodeMode: String, Sendable, Hashable, CaseIterable {
    /// Real and virtual-8086 mode: instructions that need protected mode are not there.
    case real16
    case protected16
    case compatibility16
    case protected32
    case compatibility32
    case long64

    /// - Parameter cs: the cached attributes: a D bit left from protected mode makes 32-bit code of real mode.
    public init(_ mode: CPUMode, cs: SegmentAttributes) {
        switch mode {
        case .real: self = cs.isBig ? .protected32 : .real16
        case .virtual8086: self = .real16
        case .protected16: self = .protected16
        case .protected32: self = .protected32
        case .compatibility16: self = .compatibility16
        case .compatibility32: self = .compatibility32
        case .long64: self = .long64
        }
    }

    /// The mode of a vCPU's next instruction.
    public init(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        self.init(CPUMode(registers, special), cs: special.cs.attributes)
    }

    /// In bits: 16, 32 or 64.
    public var width: Int {
        switch self {
        case .real16, .protected16, .compatibility16: 16
        case .protected32, .compatibility32: 32
        case .long64: 64
        }
    }
}
