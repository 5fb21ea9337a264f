import CLinux
import Glibc
import Host
import Locking
import Synchronization

/// A tracer's process from its start to its end. One that ends without having been told to, as one that is killed, leaves
/// what it has changed in the VMM: that is put back at once, whether anybody waits for the tracer or not.
///
/// Locked: any thread may call.
final class TracerSupervisor: Sendable {
    let tracer: Int32
    private let program: TracerProgram
    /// The descriptor of the threads' records; -1 for none.
    private let records: Int32
    private struct State {
        var journal = RecoveryJournal()
        /// The tracer after it, which keeps the VMM from running until it can put everything back.
        var rescuer: TracerClient?
        /// It is known that the tracer ends.
        var isEnding = false
        var loss: HostGuestError?
        var onLoss: (@Sendable () -> Void)?
        /// It puts everything back by itself, and ends.
        var isToEnd = false
    }
    private let state = Lock(State())
    /// The watching thread's own descriptor of the socket; -1 for none.
    private let connection = Atomic<Int32>(-1)

    /// How long its end is waited for, in milliseconds.
    private static let waitLimit: Int32 = 3000

    /// - Parameter records: the descriptor of the threads' records, which is ours from then on; -1 for none.
    init(_ tracer: Int32, _ program: TracerProgram, records: Int32) {
        self.tracer = tracer
        self.program = program
        self.records = records
    }

    deinit { if records >= 0 { close(records) } }

    /// Its socket is about to be closed, which makes it put everything back and end.
    func expectEnd() { state.withLock { $0.isToEnd = true } }

    /// Waits for that. One that waits for a thread of the VMM to come back from the kernel ends later.
    func awaitEnd() {
        // Not locked: at its end it may wait for the watching thread.
        if !isLost { _ = clinux_reap_within(tracer, Self.waitLimit) }
    }

    // MARK: What it is told

    /// A message is about to be sent: one that ends before it answers may have done what it says. False if it has ended.
    func note(_ request: TracerRequest) -> Bool {
        state.withLock { state in
            state.journal.note(request)
            if case .detach = request { state.isToEnd = true }
            return state.loss == nil
        }
    }

    /// What it has answered.
    func note(_ request: TracerRequest, _ reply: TracerReply) {
        state.withLock { $0.journal.note(request, reply) }
    }

    // MARK: Its end

    /// It is about to end, and still has its tracees. What is done now is done before any of them goes on: the VMM is
    /// stopped, where it would not go on as it was.
    private func prepare(_ state: inout State) {
        guard !state.isEnding, !state.isToEnd, state.loss == nil else { return }
        state.isEnding = true
        state.rescuer = state.journal.rescue(program, ThreadRecords(descriptor: records))
        if state.rescuer == nil { state.journal.restorePatches() }
    }

    /// Called once, on any thread, before what it has left is put back.
    func onLoss(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onLoss = body } }

    /// It has ended, or is about to: waits for its end and has another tracer put back what it has left, once. Later calls
    /// return at once.
    ///
    /// - Returns: the error to be shown, which says what became of that.
    func recover() -> HostGuestError {
        state.withLock { state in
            if let loss = state.loss { return loss }
            prepare(&state)
            // Until it has ended it has the VMM's threads.
            _ = clinux_reap_within(tracer, Self.waitLimit)
            state.onLoss?()
            let journal = state.journal
            state.journal = RecoveryJournal()
            let aftermath =
                journal.putBack(program, ThreadRecords(descriptor: records), by: state.rescuer)
                .map { ": \($0)" } ?? ""
            state.rescuer = nil
            // Where there was no other one.
            journal.restorePatches()
            let loss = HostGuestError(
                .tracer, "the tracer process has ended" + aftermath, remedy: "attach again")
            state.loss = loss
            return loss
        }
    }

    /// It has ended without having been told to.
    var isLost: Bool { state.withLock { $0.loss != nil } }

    /// Starts a thread that sleeps until it has ended.
    ///
    /// - Parameter socket: ours to it; the thread has a descriptor of its own.
    func watch(_ socket: Int32) {
        let ours = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        connection.store(ours, ordering: .sequentiallyConsistent)
        do {
            pthread_detach(try ThreadStart.begin { self.watchEnd() })
        } catch {
            // Whoever asks the tracer for something next finds it gone.
            if ours >= 0 { close(ours) }
        }
    }

    private func watchEnd() {
        let socket = connection.load(ordering: .sequentiallyConsistent)
        if !followToItsEnd(), socket >= 0 {
            // POLLHUP is told of without being asked for. Its files are closed before its tracees are detached (exit_files
            // and exit_notify in kernel/exit.c), which comes soon after: there is time for patches, and by our own hands.
            var hangUp = pollfd(fd: socket, events: 0, revents: 0)
            while poll(&hangUp, 1, -1) < 0, errno == EINTR {}
            state.withLock { state in
                state.isEnding = true
                if !state.isToEnd, state.loss == nil { state.journal.restorePatches() }
            }
        }
        if socket >= 0 { close(socket) }
        let pidfd = clinux_pidfd_open(tracer)
        guard pidfd >= 0 else { return }
        defer { close(pidfd) }
        var end = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        while poll(&end, 1, -1) < 0, errno == EINTR {}
        if state.withLock({ !$0.isToEnd && !$0.journal.vcpus.isEmpty }) { _ = recover() }
    }

    /// Traces it, for one thing: a process that ends, were it by SIGKILL, stops before it does (PTRACE_O_TRACEEXIT), and
    /// its tracees are held for as long as it stands there.
    ///
    /// - Returns: false where it cannot be traced.
    private func followToItsEnd() -> Bool {
        guard clinux_ptrace_seize(tracer, clinux_option_exit) >= 0 else { return false }
        while true {
            var status: Int32 = 0
            // It is left to be reaped by whoever waits for it.
            guard clinux_wait_traced(tracer, &status) == tracer else { return true }
            if status >> 16 == clinux_event_exit {
                state.withLock { prepare(&$0) }
                _ = clinux_ptrace_go(clinux_go_free, tracer, 0)
                return true
            }
            switch TracedThread.Stop(status: status) {
            case .signal(let signal): _ = clinux_ptrace_go(clinux_go_free, tracer, signal)
            case .event(let signal) where signal != SIGTRAP:
                _ = clinux_ptrace_go(clinux_go_listen, tracer, 0)
            case .ended: return true
            case .event, .systemCall, .exec, nil: _ = clinux_ptrace_go(clinux_go_free, tracer, 0)
            }
        }
    }
}
