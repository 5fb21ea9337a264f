import CLinux
import Glibc
import Host
import KVMCore

/// A VMM whose tracer is ending, kept from running until another one has put everything back.
///
/// Its process is stopped by a signal: a thread that is still traced stops before it is out of the kernel when its tracer
/// is gone. And SIGTRAP is ignored: the trap of a step that nobody has taken in any more would be the VMM's end.
struct VMMPause {
    private let process: Int32
    /// It is not stopped by somebody else already.
    private let isOurs: Bool
    /// What the VMM does with SIGTRAP; nil where that was not changed.
    private let trap: [UInt8]?

    /// - Parameter threads: those that are traced.
    init(_ process: Int32, threads: [Int32]) {
        self.process = process
        let files = ProcessFiles(process)
        isOurs = files.state() != "T"
        if isOurs { _ = clinux_kill(process, SIGSTOP) }
        // A step's trap makes the kernel forget that SIGTRAP is ignored: none may be still to come.
        let deadline = monotonicTime() &+ Self.limit
        for thread in threads {
            while let state = files.state(thread: thread), !Self.stopped.contains(state),
                monotonicTime() < deadline
            {
                sched_yield()
            }
        }
        trap = SignalAction.exchange(SIGTRAP, SignalAction.ignore, of: process, within: Self.limit)
    }

    /// As /proc has it: in a stop of tracing, or of the process; or ended. Source: proc(5), `stat`.
    private static let stopped: Set<Character> = ["t", "T", "Z", "X"]
    /// How long any of that may take, in nanoseconds. The tracer that is ending waits meanwhile.
    private static let limit: UInt64 = 1_000_000_000

    /// The VMM goes on.
    func end() {
        if let trap { _ = SignalAction.exchange(SIGTRAP, trap, of: process, within: Self.limit) }
        if isOurs { _ = clinux_kill(process, SIGCONT) }
    }
}
