import DebugTarget
import KVMCore
import Locking
import Synchronization

/// One run of a machine, from resuming vCPUs to the report that all are stopped: all stop, all go.
///
/// A run of one vCPU that nobody asks to stop takes no lock on that vCPU's thread: a step is short, and each line of
/// memory that both threads write costs it some percent.
final class RunCoordinator: Sendable {
    private struct State {
        /// The vCPUs that were resumed.
        var out: [VCPUThread] = []
        /// How many of them have not come back.
        var remaining = 0
        /// Why all are to stop, once that is so.
        var first: StopReport?
        /// The vCPU that was parked last.
        var parked: Int?
    }

    private let state = Lock(State())
    /// From resuming until the report was taken.
    private let runs = Atomic<Bool>(false)
    /// All are to stop. Read by the vCPUs' threads between two KVM_RUNs.
    private let stops = Atomic<Bool>(false)
    private let alone = Atomic<Bool>(false)
    /// Carries the report when all have come back.
    private let reports = EventCount<StopReport>()
    private let event: EventDescriptor

    init() throws(KVMError) { event = try EventDescriptor() }

    var stopDescriptor: Int32 { event.number }
    var isRunning: Bool { runs.load(ordering: .acquiring) }
    var isStopping: Bool { stops.load(ordering: .acquiring) }

    /// Resumes the vCPUs. False if they run already, or a report has not been collected.
    func start(_ threads: [VCPUThread], _ controller: (_ place: Int) -> any RunController) -> Bool {
        guard !runs.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        state.withLock { state in
            state.out = threads
            state.first = nil
            state.parked = nil
            state.remaining = threads.count
            Self.set(stops, false)
            Self.set(alone, threads.count == 1)
        }
        for (place, thread) in threads.enumerated() { thread.run(controller(place)) }
        return true
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

    /// Whether no other vCPU was resumed with this one. For a vCPU that is out.
    var isAlone: Bool { alone.load(ordering: .acquiring) }

    /// The only vCPU that was resumed has come back and stopped by itself.
    ///
    /// - Parameter measured: of its run.
    func isBackAlone(_ vcpu: Int, reason: StopReason, _ measured: StopReport.Measured) {
        guard !stops.load(ordering: .sequentiallyConsistent) else {
            return isBack(vcpu, reason: reason, isParked: false)
        }
        // Someone who asks from here on finds it done: what he notes is dropped when the next run starts.
        deliver(StopReport(vcpu: vcpu, reason: reason, measured: measured))
    }

    /// A vCPU has come back: it is stopped. The last one makes the report.
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
        reports.signal(with: report)
        // Whoever finds it raised finds the report; who takes the report waits for it to be raised, and lowers it.
        event.raise()
    }

    /// The report of the run, or nil at `deadline`, or at once if nothing runs. For one thread at a time.
    func wait(until deadline: UInt64?) -> StopReport? {
        while true {
            let token = reports.token
            if let report = reports.takePayload() {
                event.lower()
                runs.store(false, ordering: .releasing)
                return report
            }
            if !isRunning { return nil }
            if let deadline, monotonicTime() >= deadline { return nil }
            reports.wait(since: token, until: deadline)
        }
    }
}
