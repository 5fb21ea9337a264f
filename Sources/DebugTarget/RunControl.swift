public import KVMCore

/// One vCPU to resume, and who decides when it stops.
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
    /// which a guest that runs freely would pay for at each exit. Read at each exit.
    var seesHandledExits: Bool { get }
    /// How the vCPU goes on at its next KVM_RUN; asked before each by a target whose guest has a time of its own.
    var pace: RunPace { get }
    /// An exit was handled, and is not completed yet: whether ``RunEvent/handled(_:)`` is wanted of it.
    func exited(_ exit: VCPUExit) -> Bool
    /// Before the first KVM_RUN: arms guest debug.
    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict
    /// After each exit, when the target has done its own part of it.
    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict
    /// The machine's BIOS did what the guest called it for, and may have set any register: whether
    /// ``RunEvent/serviced(_:)`` is wanted.
    ///
    /// - Parameter call: nil for what the BIOS does by itself, as at an interrupt.
    func called(_ call: FirmwareCall?) -> Bool
    /// A vCPU that was parked at a HLT goes on by itself: an interrupt is about to end it. What was armed may be armed
    /// anew, for the instruction after the HLT.
    func woke(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict
    /// Asked of each KVM_EXIT_IO and KVM_EXIT_X86_WRMSR before anyone handles it: whether it is the controller's own,
    /// made by a patch in the code or by ``MSRTrapping``. Registers are not final. Such an exit is dropped and completed, and ``RunEvent/claimed(_:)`` says
    /// so. Only of a target that is ``CodePatching``.
    func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool
    /// Does an access of the guest to a page that ``MemoryProtecting`` protects. Registers are not final. Nil: the
    /// target is to do it.
    func access(_ access: MMIO, _ vcpu: any VCPUAccess) throws(KVMError) -> AccessAnswer?
    /// After the vCPU's last KVM_RUN, whatever the reason, and before the report is delivered: the place to read
    /// the final registers. Called once for each ``begin(_:)``. What was armed may stay armed for the next run.
    func end(_ vcpu: any VCPUAccess) throws(KVMError)
}

extension RunController {
    /// What stepping needs.
    public var seesHandledExits: Bool { true }

    public var pace: RunPace { .free }

    public func exited(_ exit: VCPUExit) -> Bool { seesHandledExits }

    public func called(_ call: FirmwareCall?) -> Bool { seesHandledExits }

    public func woke(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .resume }

    public func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool { false }

    public func access(_ access: MMIO, _ vcpu: any VCPUAccess) throws(KVMError) -> AccessAnswer? { nil }
}

/// How a vCPU goes on.
public struct RunPace: Sendable, Hashable {
    /// By one instruction, after which it is asked again.
    public var isStepping: Bool
    /// Interrupts wait until that is over.
    public var holdsOffInterrupts: Bool
    /// What the instruction to be stepped is, for a target that does some of them by itself; nil where it is not known.
    package var opcode: OpcodeClass?
    public init(isStepping: Bool, holdsOffInterrupts: Bool) {
        self.isStepping = isStepping
        self.holdsOffInterrupts = holdsOffInterrupts
    }

    /// As fast as it can.
    public static var free: RunPace { RunPace(isStepping: false, holdsOffInterrupts: false) }
}

/// What became of an access to a protected page.
public struct AccessAnswer: Sendable, Hashable {
    /// What a read gives.
    public var value: UInt64
    /// The controller wants ``RunEvent/handled(_:)`` once the instruction is done, whatever
    /// ``RunController/seesHandledExits`` says.
    public var isSeen: Bool
    public init(value: UInt64, isSeen: Bool) {
        self.value = value
        self.isSeen = isSeen
    }
}

/// What happened in one return from KVM_RUN, after the target handled its own part.
public enum RunEvent: Sendable {
    /// KVM_EXIT_DEBUG.
    case debug(DebugExit)
    /// An exit that the target has handled and completed (I/O, MMIO, MSR): registers are final. While
    /// stepping, such an exit is where the instruction ended unless RIP stands where it stood.
    case handled(VCPUExit)
    /// A call of the machine's BIOS is done: registers are final, and RIP may be anywhere. While stepping, this is where
    /// the instruction ended.
    case serviced(VCPUExit)
    /// An exit that ``RunController/claims(_:_:)`` was true of, completed: RIP stands after the OUT.
    case claimed(VCPUExit)
    /// A patch was executed, and the target has put the vCPU back to where it stands: registers are final.
    case patch
    /// An exit that the guest cannot go on from by itself: HLT with no irqchip, shutdown, internal error,
    /// failed entry, an unknown reason.
    case fatal(VCPUExit)
}

/// What a vCPU does next.
public enum Verdict: Sendable {
    /// KVM_RUN again, also after ``RunEvent/fatal(_:)``.
    case resume
    /// The vCPU stays where it is, halted, and the others go on. The target reports ``StopReason/hlt`` when
    /// every vCPU that it resumed is parked.
    case park
    /// Apart, for it is large: a verdict is handed up after each step, and is almost always ``resume``.
    indirect case stop(StopReason)
}

/// What a target says once all vCPUs are stopped.
public struct StopReport: Sendable {
    /// The vCPU that stopped first and made the others stop.
    public var vcpu: Int
    public var reason: StopReason
    /// What the run came to, of a run of one vCPU whose thread counted anyway; otherwise ``Target/exits`` and the clock
    /// are asked.
    public var measured: Measured?

    public struct Measured: Sendable {
        public var exits: UInt64
        /// From the first KVM_RUN to the report, in nanoseconds.
        public var time: UInt64
        public init(exits: UInt64, time: UInt64) {
            self.exits = exits
            self.time = time
        }
    }

    public init(vcpu: Int, reason: StopReason, measured: Measured? = nil) {
        self.vcpu = vcpu
        self.reason = reason
        self.measured = measured
    }
}
