/// The general-purpose registers, the instruction pointer and the flags of one vCPU.
///
/// Source: SDM volume 1, 3.4. The field set is that of the kernel's `struct kvm_regs`.
public struct GeneralRegisters: Sendable, Hashable {
    /// RAX.
    public var rax: UInt64 = 0
    /// RBX.
    public var rbx: UInt64 = 0
    /// RCX.
    public var rcx: UInt64 = 0
    /// RDX.
    public var rdx: UInt64 = 0
    /// RSI.
    public var rsi: UInt64 = 0
    /// RDI.
    public var rdi: UInt64 = 0
    /// RSP.
    public var rsp: UInt64 = 0
    /// RBP.
    public var rbp: UInt64 = 0
    /// R8.
    public var r8: UInt64 = 0
    /// R9.
    public var r9: UInt64 = 0
    /// R10.
    public var r10: UInt64 = 0
    /// R11.
    public var r11: UInt64 = 0
    /// R12.
    public var r12: UInt64 = 0
    /// R13.
    public var r13: UInt64 = 0
    /// R14.
    public var r14: UInt64 = 0
    /// R15.
    public var r15: UInt64 = 0
    /// Relative to the base of CS; the linear address of the instruction is `cs.base + rip`.
    public var rip: UInt64 = 0
    /// RFLAGS.
    public var rflags: RFlags = .reserved1

    /// All zero but for RFLAGS' bit 1.
    public init() {}
}
