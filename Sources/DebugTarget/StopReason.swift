public import KVMCore

/// Why a guest is stopped.
public enum StopReason: Sendable, Hashable {
    /// Nothing has run yet.
    case created
    /// So many guest instructions were stepped.
    case step(count: Int)
    /// An order that looks after each instruction is there.
    case reached(StepEnd)
    /// The numbers of the breakpoints hit.
    case breakpoint([Int])
    /// Accesses to watched memory, done.
    case watchpoint([WatchHit])
    /// The user asked (`stop`, Ctrl-C, F12).
    case interrupted
    /// What catchpoints stopped at.
    case caught([CaughtEvent])
    /// `xchg bx, bx` was executed.
    case magicBreakpoint
    /// The guest asked its debugger for something, by port 0x8A00.
    case ioDebug(IODebugPort.Request)
    /// In real mode, a vector that holds 0000:0000.
    case emptyVector(EmptyVector)
    /// HLT with nothing that could wake the vCPU.
    case hlt
    /// KVM_EXIT_SHUTDOWN.
    case tripleFault
    case internalError(InternalError)
    case failEntry(hardwareReason: UInt64, cpu: UInt32)
    /// The guest asked to be switched off (an exit device, KVM_EXIT_SYSTEM_EVENT).
    case poweredOff
    /// The guest asked for a reset: the next order does it.
    case guestReset(GuestReset)
    /// The user ended the guest.
    case killed
    /// The vCPU is where it was and nothing was done: the host's KVM does not execute the instruction there. What it
    /// reported.
    case noProgress(VCPUExit)
    /// The host left a step early or late: single-step was not honoured.
    case stepLost(VCPUExit)
    /// The program that runs the guest does not let the vCPU run, so that nothing was stepped.
    case withheld(Withholding)
    /// Any other exit that the target does not know how to continue from.
    case exit(VCPUExit)
    /// The program that ran the guest has ended, or can no longer be reached: what is known of it, in words.
    case ended(String)
    /// KVM_RUN itself, or a call between two runs, failed.
    case failed(KVMError)
}
