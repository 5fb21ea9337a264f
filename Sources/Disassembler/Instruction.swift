public import X86

/// One decoded instruction, or what stands where none can be decoded.
public struct Instruction: Sendable, Hashable {
    /// The longest instruction, in bytes. Source: SDM volume 2A, 2.3.11.
    public static let maximumLength = 15

    public enum Validity: Sendable, Hashable {
        case valid
        /// No instruction of the mode begins with these bytes; one byte is taken.
        case bad
        /// The bytes given end before the instruction does; all of them are taken.
        case truncated
    }

    /// As the caller gave it: the offset in the code segment.
    public var address: UInt64
    public var bytes: [UInt8]
    /// `(bad)` and `(truncated)` for what is not valid; empty where no text was asked for.
    public var text: String
    /// In lower case, without prefixes; empty for what is not valid.
    public var mnemonic: String
    public var validity: Validity
    public var traits: InstructionTraits = []
    /// The vector of INT n, INT3, INT1 and INTO.
    public var interruptVector: UInt8?
    /// Where a direct branch goes; nil for an indirect one.
    public var target: BranchTarget?
    /// What decides a conditional branch.
    public var condition: BranchCondition?
    /// What is accessed in memory, written out or not (a PUSH's stack slot).
    public var memory: [MemoryOperand] = []
    /// What part of the processor executes it.
    public var unit = InstructionUnit.general
    /// In bits.
    public var operandWidth: Int
    /// In bits.
    public var addressWidth: Int
    public var mode: DecodeMode

    public var length: Int { bytes.count }

    /// The address of the instruction after. In 16-bit code it wraps at 64 KiB, in 32-bit code at 4 GiB;
    /// an address given beyond that does not wrap.
    public var next: UInt64 { mode.advance(address, by: bytes.count) }

    /// Whether the branch will be taken with these registers; nil for what is no branch. Unconditional jumps,
    /// calls and returns always are.
    public func willBranch(_ file: RegisterFile) -> Bool? {
        if let condition {
            return condition.holds(
                rflags: file.general.rflags, counter: file.general.rcx, addressWidth: addressWidth)
        }
        return traits.isDisjoint(with: [.jump, .call, .return, .interruptReturn]) ? nil : true
    }
}

extension DecodeMode {
    /// `address` + `count`, wrapped where an instruction pointer of the mode wraps.
    func advance(_ address: UInt64, by count: Int) -> UInt64 {
        let sum = address &+ UInt64(count)
        switch width {
        case 16: return address <= 0xFFFF ? sum & 0xFFFF : sum
        case 32: return address <= 0xFFFF_FFFF ? sum & 0xFFFF_FFFF : sum
        default: return sum
        }
    }
}

/// Where a direct branch goes.
public enum BranchTarget: Sendable, Hashable {
    /// An offset in the same code segment.
    case near(UInt64)
    /// A new code segment and the offset in it.
    case far(SegmentedAddress)
}

/// What an instruction does that a debugger treats in a special way.
public struct InstructionTraits: OptionSet, Sendable, Hashable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let call = InstructionTraits(rawValue: 1 << 0)
    /// RET, near or far; not IRET.
    public static let `return` = InstructionTraits(rawValue: 1 << 1)
    /// JMP.
    public static let jump = InstructionTraits(rawValue: 1 << 2)
    /// Jcc, JCXZ and the LOOP family.
    public static let conditional = InstructionTraits(rawValue: 1 << 3)
    /// LOOP, LOOPE, LOOPNE.
    public static let loop = InstructionTraits(rawValue: 1 << 4)
    /// INT n, INT3, INT1, INTO.
    public static let interrupt = InstructionTraits(rawValue: 1 << 5)
    /// IRET, IRETD, IRETQ.
    public static let interruptReturn = InstructionTraits(rawValue: 1 << 6)
    /// A REP, REPE or REPNE prefix that has its effect.
    public static let rep = InstructionTraits(rawValue: 1 << 7)
    /// MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS.
    public static let string = InstructionTraits(rawValue: 1 << 8)
    public static let halt = InstructionTraits(rawValue: 1 << 9)
    /// SYSCALL, SYSENTER.
    public static let systemCall = InstructionTraits(rawValue: 1 << 10)
    /// SYSRET, SYSEXIT, RSM.
    public static let systemReturn = InstructionTraits(rawValue: 1 << 11)
    /// A branch that loads CS.
    public static let far = InstructionTraits(rawValue: 1 << 12)
    /// A branch whose target comes from a register or memory.
    public static let indirect = InstructionTraits(rawValue: 1 << 13)
    /// MOV to CRn, LMSW, CLTS.
    public static let writesControl = InstructionTraits(rawValue: 1 << 14)
    public static let writesDebug = InstructionTraits(rawValue: 1 << 15)
    /// MOV, POP, LDS and the like to a segment register; far branches have ``far``.
    public static let writesSegment = InstructionTraits(rawValue: 1 << 16)
    /// IN, OUT, INS, OUTS.
    public static let portIO = InstructionTraits(rawValue: 1 << 17)
    /// Only at CPL 0.
    public static let privileged = InstructionTraits(rawValue: 1 << 18)
}
