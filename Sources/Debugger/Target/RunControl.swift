public import KVMCore

/// One vCPU to let go, and who decides when it stops.
public struct RunOrder: Sendable {
    public var vcpu: Int
    public var controller: any RunController
    public init(vcpu: Int, controller: any RunController) {
        self.vcpu = vcpu
        self.controller = controller
    }
}

/// The debugger's decisions while a vCPU runs. Called by the target, always on that vCPU's own thread, so a
/// million steps cost no hand-over between threads.
public protocol RunController: AnyObject, Sendable {
    /// Whether ``RunEvent/handled(_:)`` is wanted. Without it a write is not completed by a KVM_RUN of its own,
    /// which a guest that runs freely would pay for at each exit. Read once, after ``begin(_:)``.
    var seesHandledExits: Bool { get }
    /// Before the first KVM_RUN: arms guest debug.
    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict
    /// After each exit, when the target has done its own part of it.
    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict
    /// After the vCPU's last KVM_RUN, whatever the reason, and before the report is delivered: the place to read
    /// the final registers. Called once for each ``begin(_:)``. What was armed may stay armed for the next run.
    func end(_ vcpu: any VCPUAccess) throws(KVMError)
}

extension RunController {
    /// What stepping needs.
    public var seesHandledExits: Bool { true }
}

/// What happened in one return from KVM_RUN, after the target handled its own part.
public enum RunEvent: Sendable {
    /// KVM_EXIT_DEBUG.
    case debug(DebugExit)
    /// An exit that the target has handled and completed (I/O, MMIO, MSR): registers are final. While
    /// stepping, such an exit is where the instruction ended unless RIP stands where it stood.
    case handled(VCPUExit)
    /// An exit that the guest cannot go on from by itself: HLT with no irqchip, shutdown, internal error,
    /// failed entry, an unknown reason.
    case fatal(VCPUExit)
}

/// What a vCPU does next.
public enum Verdict: Sendable {
    /// KVM_RUN again, also after ``RunEvent/fatal(_:)``.
    case resume
    /// The vCPU stays where it is, halted, and the others go on. The target reports ``StopReason/hlt`` when
    /// every vCPU that it let go is parked.
    case park
    case stop(StopReason)
}

/// What a target says once all vCPUs stand still.
public struct StopReport: Sendable {
    /// The vCPU that stopped first and made the others stop.
    public var vcpu: Int
    public var reason: StopReason
    public init(vcpu: Int, reason: StopReason) {
        self.vcpu = vcpu
        self.reason = reason
    }
}

/// Why a guest stands still.
public enum StopReason: Sendable, Hashable {
    /// Nothing has run yet.
    case created
    /// So many guest instructions were stepped.
    case step(count: Int)
    /// The numbers of the breakpoints hit.
    case breakpoint([Int])
    /// The user asked (`stop`, Ctrl-C, F12).
    case interrupted
    /// HLT with nothing that could wake the vCPU.
    case hlt
    /// KVM_EXIT_SHUTDOWN.
    case tripleFault
    case internalError(InternalError)
    case failEntry(hardwareReason: UInt64, cpu: UInt32)
    /// The guest asked to be switched off (an exit device, KVM_EXIT_SYSTEM_EVENT).
    case poweredOff
    /// The host left a step early or late: single-step was not honoured.
    case stepLost(VCPUExit)
    /// Any other exit that the target does not know how to continue from.
    case exit(VCPUExit)
    /// KVM_RUN itself, or a call between two runs, failed.
    case failed(KVMError)
}
