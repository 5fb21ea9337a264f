/// Instructions that `step-until` looks for.
public enum InstructionKind: String, Sendable, Hashable, CaseIterable {
    /// IRET, IRETD, IRETQ.
    case iret
    /// RET, near or far.
    case ret
    /// INT n, INT3, INTO, INT1.
    case int
    /// Whatever may go elsewhere: jumps, conditional ones, LOOP, CALL, RET, IRET, INT, SYSCALL, SYSRET.
    case branch
    /// CALL, near or far.
    case call
}

/// What an order that steps and looks after each instruction came to.
public enum StepEnd: Sendable, Hashable {
    /// The RET or IRET that leaves the code where the order began was executed.
    case returned
    /// An instruction of this kind is the next.
    case instruction(InstructionKind)
    /// This expression is not 0.
    case condition(String)
    /// The linear address that the order was to come to.
    case place(UInt64)
}
