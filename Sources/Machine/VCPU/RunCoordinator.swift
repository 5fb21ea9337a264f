import Debugger
import KVMCore
import Synchronization

/// One run of a machine, from letting vCPUs go to the report that all stand still: all stop, all go.
final class RunCoordinator: Sendable {
    private struct State {
        /// The vCPUs that were let go.
        var out: [VCPUThread] = []
        /// How many of them have not come back.
        var remaining = 0
        /// Why all are to stop, once that is so.
        var first: StopReport?
        /// The vCPU that was parked last.
        var parked: Int?
        /// All have come back, and the report waits.
        var report: StopReport?
        var isRunning = false
        /// How many threads wait in ``wait(until:)``.
        var collectors = 0
        var isRaised = false
    }

    private let state = Mutex(State())
    /// All are to stop. Read by the vCPUs' threads between two KVM_RUNs.
    private let stops = Atomic<Bool>(false)
    private let alone = Atomic<Bool>(false)
    private let bell = Bell<Never>()
    private let event: EventDescriptor

    init() throws(KVMError) { event = try EventDescriptor() }

    var stopDescriptor: Int32 { event.number }
    var isRunning: Bool { state.withLock { $0.isRunning } }
    var isStopping: Bool { stops.load(ordering: .acquiring) }

    /// Lets the vCPUs go. False if they run already, or a report has not been collected.
    func start(_ orders: [(thread: VCPUThread, controller: any RunController)]) -> Bool {
        let isStarted = state.withLock { state in
            guard !state.isRunning else { return false }
            state.isRunning = true
            state.first = nil
            state.parked = nil
            state.out = orders.map(\.thread)
            state.remaining = orders.count
            stops.store(false, ordering: .relaxed)
            alone.store(orders.count == 1, ordering: .relaxed)
            return true
        }
        guard isStarted else { return false }
        for order in orders { order.thread.run(order.controller) }
        return true
    }

    /// Makes all vCPUs stop, for this reason unless there is one already.
    func stopAll(_ reason: StopReason, by vcpu: Int? = nil) {
        let others: [VCPUThread] = state.withLock { state in
            guard state.isRunning, state.remaining > 0, state.first == nil, let one = state.out.first
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

    /// A vCPU has come back: it stands still. The last one makes the report.
    ///
    /// - Parameter reason: why, if it stopped by itself; the first of all counts.
    func isBack(_ vcpu: Int, reason: StopReason?, isParked: Bool) {
        let isLast = state.withLock { state in
            state.remaining -= 1
            if isParked { state.parked = vcpu }
            if let reason, state.first == nil { state.first = StopReport(vcpu: vcpu, reason: reason) }
            guard state.remaining == 0 else { return false }
            // Nobody said stop: all are parked.
            state.report = state.first ?? StopReport(vcpu: state.parked ?? vcpu, reason: .hlt)
            // Someone who waits here needs no descriptor to tell him; a write is a system call.
            if state.collectors == 0 {
                state.isRaised = true
                event.raise()
            }
            return true
        }
        if isLast { bell.ring() }
    }

    /// The report of the run, or nil at `deadline`, or at once if nothing runs.
    func wait(until deadline: UInt64?) -> StopReport? {
        state.withLock { $0.collectors += 1 }
        while true {
            let token = bell.token
            let isLate = deadline.map { Clock.now() >= $0 } ?? false
            let (report, isOver) = state.withLock { state -> (StopReport?, Bool) in
                let report = take(&state)
                let isOver = report != nil || !state.isRunning || isLate
                // Under the same lock: a report from here on finds nobody waiting, and raises the descriptor.
                if isOver { state.collectors -= 1 }
                return (report, isOver)
            }
            if isOver { return report }
            bell.wait(since: token, until: deadline)
        }
    }

    private func take(_ state: inout State) -> StopReport? {
        guard let report = state.report else { return nil }
        state.report = nil
        state.isRunning = false
        if state.isRaised {
            state.isRaised = false
            event.lower()
        }
        return report
    }
}
