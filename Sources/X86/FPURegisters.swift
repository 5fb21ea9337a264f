/// The x87 and SSE registers: the kernel's `struct kvm_fpu`. Source: SDM volume 1, 8.1 and 10.2.
public struct FPURegisters: Sendable, Hashable {
    /// Sixteen bytes: an XMM register, or an 80-bit x87 register in bytes 0 to 9.
    public typealias Slot = SIMD16<UInt8>

    /// ST0-ST7 (relative to the top), which are MM0-MM7 in their low eight bytes. Always eight.
    public var st: [Slot] = Array(repeating: .zero, count: 8)
    /// FCW.
    public var controlWord: UInt16 = 0x37F
    /// FSW; the top of the stack is in bits 11 to 13.
    public var statusWord: UInt16 = 0
    /// In FXSAVE's abridged form: a set bit is a register in use.
    public var tagWord: UInt8 = 0
    /// FOP: the low 11 bits of the last instruction's opcode.
    public var lastOpcode: UInt16 = 0
    /// FIP: where the last instruction was.
    public var lastInstruction: UInt64 = 0
    /// FDP: where its operand in memory was.
    public var lastOperand: UInt64 = 0
    /// XMM0-XMM15. Always sixteen.
    public var xmm: [Slot] = Array(repeating: .zero, count: 16)
    /// MXCSR, of SSE.
    public var mxcsr: UInt32 = 0x1F80

    /// As after FNINIT, with MXCSR as after reset.
    public init() {}
}
