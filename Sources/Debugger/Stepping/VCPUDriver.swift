import DebugTarget
import KVMCore
import Locking
import X86

/// One vCPU's controller: its engine, between the thread that runs the vCPU and the debugger's.
///
/// The debugger's thread gives an order before ``Target/resume(_:)`` and takes the outcome after the report, both as
/// values. Whatever else the engine holds is used within the calls of ``RunController`` and by what
/// ``Target/withVCPU(_:_:)`` runs.
final class VCPUDriver: PlanningController, Sendable {
    let id: Int
    private let state: Lock<State>

    private struct State: Sendable {
        var engine: StepEngine
        /// From `begin` to `end`.
        var isRunning = false
        /// The outcome of a run that is over, until it is taken.
        var outcome: RunOutcome?
    }

    init(snapshot: VCPUSnapshot, abilities: GuestDebug.Control, patching: Patching) {
        id = snapshot.id
        state = Lock(
            State(engine: StepEngine(snapshot: snapshot, abilities: abilities, patching: patching)))
    }

    // MARK: the debugger's thread

    /// What the next run is for.
    func give(_ plan: ThreadPlan) {
        state.withLock { state in
            assert(!state.isRunning, "an order is given to a vCPU that runs")
            state.engine.plan = plan
            state.engine.walked = WalkProgress()
        }
    }

    /// What is armed from the next run on.
    func give(_ set: ArmedSet) {
        state.withLock { state in
            assert(!state.isRunning, "what is armed is changed beneath a vCPU that runs")
            state.engine.breakpoints.set = set
        }
    }

    /// What it was given last.
    var plannedNext: ThreadPlan { state.withLock { $0.engine.plan } }

    /// What the last run came to; nil where it was taken, or the vCPU has not run since.
    ///
    /// - Parameter isLost: what ran the vCPU is gone, so that the run may have had no end.
    func takeOutcome(isLost: Bool = false) -> RunOutcome? {
        state.withLock { state in
            assert(!state.isRunning || isLost, "a vCPU that runs is asked for its outcome")
            state.isRunning = false
            return state.outcome.take()
        }
    }

    /// The last instructions that were stepped.
    var blackBox: StepRing { state.withLock { $0.engine.blackBox } }

    // MARK: RunController

    var seesHandledExits: Bool { state.withLock { $0.engine.seesHandledExits } }

    var pace: RunPace { state.withLock { $0.engine.runPace } }

    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try state.withLock { state throws(KVMError) in
            state.isRunning = true
            state.outcome = nil
            return try state.engine.begin(vcpu)
        }
    }

    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try state.withLock { state throws(KVMError) in try state.engine.decide(event, vcpu) }
    }

    func called(_ call: FirmwareCall?) -> Bool { state.withLock { $0.engine.called(call) } }

    func woke(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try state.withLock { state throws(KVMError) in try state.engine.woke(vcpu) }
    }

    func end(_ vcpu: any VCPUAccess) throws(KVMError) {
        try state.withLock { state throws(KVMError) in
            state.isRunning = false
            defer { state.outcome = state.engine.finished }
            try state.engine.end(vcpu)
        }
    }

    func exited(_ exit: VCPUExit) -> Bool { state.withLock { $0.engine.exited(exit) } }

    func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        try state.withLock { state throws(KVMError) in try state.engine.claims(exit, vcpu) }
    }

    func access(_ access: MMIO, _ vcpu: any VCPUAccess) throws(KVMError) -> AccessAnswer? {
        state.withLock { $0.engine.access(access) }
    }

    var plan: UnattendedSteps? { state.withLock { $0.engine.unattended } }

    func wentOn(_ count: UInt64, _ registers: SyncedRegisters) {
        state.withLock { $0.engine.wentOn(count, registers) }
    }

    // MARK: where the vCPU's calls may be made

    /// Registers were written.
    ///
    /// - Parameter activity: what the vCPU was doing, as the debugger has it.
    /// - Returns: the vCPU as it is now.
    func edited(
        _ vcpu: any VCPUAccess, activity: VCPUSnapshot.Activity, running: Bool
    ) throws(KVMError) -> VCPUSnapshot {
        try state.withLock { state throws(KVMError) in
            // Its run may be over while the stop waits to be collected: nothing is begun for it then, which nobody would
            // end.
            let snapshot = try state.engine.edited(
                vcpu, activity: activity, running: running && state.isRunning)
            state.outcome?.snapshot = snapshot
            return snapshot
        }
    }

    /// Makes KVM show and keep the guest's TF: before registers are edited, and before a guest is left for good.
    func showTrapFlag(_ vcpu: any VCPUAccess) throws(KVMError) {
        try state.withLock { state throws(KVMError) in try state.engine.showTrapFlag(vcpu) }
    }

    /// The breakpoints changed while it runs.
    func rearm(_ set: ArmedSet, _ vcpu: any VCPUAccess) throws(KVMError) {
        try state.withLock { state throws(KVMError) in
            // As for an edit. What is armed counts from the next run on.
            guard state.isRunning else {
                state.engine.breakpoints.set = set
                return
            }
            try state.engine.rearm(set, vcpu)
        }
    }

    /// What a step that takes long does.
    func look(_ vcpu: any VCPUAccess, _ counter: UInt64?) throws(KVMError) -> StepPace.LongStep {
        try state.withLock { state throws(KVMError) in try state.engine.look(vcpu, counter) }
    }
}

extension VCPUSnapshot.Activity {
    /// What a vCPU that is stopped is doing.
    init(_ state: MPState) {
        switch state {
        case .runnable, .other: self = .stopped
        case .halted: self = .halted
        case .uninitialized, .initReceived, .sipiReceived: self = .waiting
        }
    }
}

extension StopReason {
    init(fatal exit: VCPUExit) {
        switch exit {
        case .hlt: self = .hlt
        case .shutdown: self = .tripleFault
        case .internalError(let error): self = .internalError(error)
        case .failEntry(let reason, let cpu): self = .failEntry(hardwareReason: reason, cpu: cpu)
        case .systemEvent(let type, _) where type == 1: self = .poweredOff
        default: self = .exit(exit)
        }
    }

    /// The vCPU cannot go on without an edit.
    var isDeadly: Bool {
        switch self {
        case .tripleFault, .internalError, .failEntry: true
        default: false
        }
    }
}
