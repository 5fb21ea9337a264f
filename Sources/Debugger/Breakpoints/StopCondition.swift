public import DebugTarget
public import X86

/// What a breakpoint asks before it stops the guest, where that is no expression of the user's but a front end's own.
///
/// Asked on the vCPU's own thread, at each hit: it may read memory, and changes nothing.
public protocol StopCondition: Sendable {
    /// Whether the guest stops. Where that cannot be told it stops, and says why.
    func holds(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, memory: any PhysicalMemory
    ) throws(DebuggerError) -> Bool
}
