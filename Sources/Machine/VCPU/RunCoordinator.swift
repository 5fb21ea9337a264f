import Debugger
import KVMCore
import Synchronization

/// One run of a machine, from letting vCPUs go to the report that all stand still: all stop, all go.
///
/// A run of one vCPU that nobody asks to stop takes no lock on that vCPU's thread: a step is short, and each line of
/// memory that both threads write costs it some percent.
final class RunCoordinator: Sendable {
    private struct State {
        /// The vCPUs that were let go.
        var out: [VCPUThread] = []
        /// How many of them have not come back.
        var remaining = 0
        /// Of a run of one vCPU.
        var alone: Alone?
        /// Why all are to stop, once that is so.
        var first: StopReport?
        /// The vCPU that was parked last.
        var parked: Int?
    }

    private struct Alone {
        var vcpu: Int
        /// Who decides. That vCPU's thread keeps it alive.
        var controller: ObjectIdentifier
        /// The thread's bell, which `out` keeps alive.
        var ringer: Bell<(any RunController)?>.Ringer
    }

    /// How a run began.
    enum Start {
        /// Something runs already, or a report has not been collected.
        case refused
        case onItsThread
        /// Whoever let go is to call ``VCPURunner/runBorrowed(_:)``, and then wait if that gives no report.
        case borrowed
    }

    private let state = Mutex(State())
    /// From letting go until the report was taken.
    private let runs = Atomic<Bool>(false)
    /// All are to stop. Read by the vCPUs' threads between two KVM_RUNs.
    private let stops = Atomic<Bool>(false)
    private let alone = Atomic<Bool>(false)
    /// Whoever let go waits in ``wait(until:)``: the descriptor need not tell. A write is a system call.
    private let awaited = Atomic<Bool>(false)
    /// Carries the report when all have come back.
    private let bell = Bell<StopReport>()
    private let event: EventDescriptor

    init() throws(KVMError) { event = try EventDescriptor() }

    var stopDescriptor: Int32 { event.number }
    var isRunning: Bool { runs.load(ordering: .acquiring) }
    var isStopping: Bool { stops.load(ordering: .acquiring) }

    /// Lets the vCPUs go. False if they run already, or a report has not been collected.
    ///
    /// - Parameter isAwaited: ``wait(until:)`` follows at once, and nobody polls the descriptor.
    func start(
        _ runners: [VCPURunner], isAwaited: Bool,
        _ controller: (_ place: Int) -> any RunController
    ) -> Bool {
        guard !runs.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        state.withLock { state in
            state.out = runners.map(\.thread)
            state.alone = nil
            if runners.count == 1 {
                state.alone = Alone(
                    vcpu: runners[0].thread.id, controller: ObjectIdentifier(controller(0)),
                    ringer: runners[0].thread.bell.ringer)
            }
            prepare(&state, count: runners.count, isAwaited: isAwaited)
        }
        for (place, runner) in runners.enumerated() {
            runner.thread.loan.endStreak()
            runner.thread.run(controller(place))
        }
        return true
    }

    /// Lets the vCPU of the run before go again, alone, and under the same controller; nil if that run was another.
    func startAgain(_ vcpu: Int, isAwaited: Bool, _ controller: ObjectIdentifier) -> Start? {
        state.withLock { state in
            guard let alone = state.alone, alone.vcpu == vcpu, alone.controller == controller else {
                return nil
            }
            guard !runs.exchange(true, ordering: .acquiringAndReleasing) else { return .refused }
            prepare(&state, count: 1, isAwaited: isAwaited)
            if isAwaited {
                if state.out[0].borrow() { return .borrowed }
            } else {
                state.out[0].loan.endStreak()
            }
            // No word of the controller, and none of the thread: what counts the references to an object is a line of
            // memory that would go from one processor to the other and back.
            alone.ringer.ring(with: nil)
            return .onItsThread
        }
    }

    private func prepare(_ state: inout State, count: Int, isAwaited: Bool) {
        if state.first != nil { state.first = nil }
        state.parked = nil
        state.remaining = count
        Self.set(stops, false)
        Self.set(alone, count == 1)
        Self.set(awaited, isAwaited)
    }

    /// Writes only what changes: the vCPUs' threads read these again and again.
    private static func set(_ flag: borrowing Atomic<Bool>, _ value: Bool) {
        if flag.load(ordering: .relaxed) != value { flag.store(value, ordering: .relaxed) }
    }

    /// Makes all vCPUs stop, for this reason unless there is one already.
    func stopAll(_ reason: StopReason, by vcpu: Int? = nil) {
        let others: [VCPUThread] = state.withLock { state in
            guard isRunning, state.remaining > 0, state.first == nil, let one = state.out.first
            else { return [] }
            state.first = StopReport(vcpu: vcpu ?? one.id, reason: reason)
            stops.store(true, ordering: .sequentiallyConsistent)
            return state.out.filter { $0.id != vcpu }
        }
        // One that is back already takes the kick as nothing, at the start of its next run.
        for other in others { other.kick() }
    }

    /// Whether no other vCPU was let go with this one. For a vCPU that is out.
    var isAlone: Bool { alone.load(ordering: .acquiring) }

    /// The only vCPU that was let go has come back and stopped by itself.
    ///
    /// - Parameter measured: of its run.
    func isBackAlone(_ vcpu: Int, reason: StopReason, _ measured: StopReport.Measured) {
        guard !stops.load(ordering: .sequentiallyConsistent) else {
            return isBack(vcpu, reason: reason, isParked: false)
        }
        // Someone who asks from here on finds it done: what he notes is dropped when the next run starts.
        deliver(StopReport(vcpu: vcpu, reason: reason, measured: measured))
    }

    /// As ``isBackAlone(_:reason:_:)``, on the thread that waits for the report.
    ///
    /// - Returns: nil if ``wait(until:)`` has it.
    func isBackHere(_ vcpu: Int, reason: StopReason, _ measured: StopReport.Measured) -> StopReport? {
        guard !stops.load(ordering: .sequentiallyConsistent) else {
            isBack(vcpu, reason: reason, isParked: false)
            return nil
        }
        runs.store(false, ordering: .releasing)
        return StopReport(vcpu: vcpu, reason: reason, measured: measured)
    }

    /// A vCPU has come back: it stands still. The last one makes the report.
    ///
    /// - Parameter reason: why, if it stopped by itself; the first of all counts.
    func isBack(_ vcpu: Int, reason: StopReason?, isParked: Bool) {
        let report: StopReport? = state.withLock { state in
            state.remaining -= 1
            if isParked { state.parked = vcpu }
            if let reason, state.first == nil { state.first = StopReport(vcpu: vcpu, reason: reason) }
            guard state.remaining == 0 else { return nil }
            // Nobody said stop: all are parked.
            return state.first ?? StopReport(vcpu: state.parked ?? vcpu, reason: .hlt)
        }
        if let report { deliver(report) }
    }

    private func deliver(_ report: StopReport) {
        // Asked before, because the next run may begin as soon as the report is there, if nothing is to be raised.
        let isAwaited = awaited.load(ordering: .relaxed)
        bell.ring(with: report)
        // Whoever finds it raised finds the report; who takes the report waits for it to be raised, and lowers it.
        if !isAwaited { event.raise() }
    }

    /// The report of the run, or nil at `deadline`, or at once if nothing runs. For one thread at a time.
    func wait(until deadline: UInt64?) -> StopReport? {
        while true {
            let token = bell.token
            if let report = bell.takeCargo() {
                if !awaited.load(ordering: .relaxed) { event.lower() }
                runs.store(false, ordering: .releasing)
                return report
            }
            if !isRunning { return nil }
            if let deadline, Clock.now() >= deadline { return nil }
            bell.wait(since: token, until: deadline)
        }
    }
}
