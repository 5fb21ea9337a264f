import CLinux
import Glibc

/// Threads of a VMM that were asked to stop and have not, as they are deep in the kernel. Nobody waits for them any more,
/// and a traced thread that stops with nobody to resume it is stopped for ever: each is detached as soon as
/// it does stop. Used by the tracer's one thread alone.
final class PendingDetaches {
    private let process: Int32
    private var threads: Set<Int32> = []

    init(_ process: Int32) { self.process = process }

    var isEmpty: Bool { threads.isEmpty }

    func add(_ thread: Int32) { threads.insert(thread) }

    /// It is somebody's again.
    func remove(_ thread: Int32) { threads.remove(thread) }

    /// Detaches those that have stopped. True if there was any.
    func collect() -> Bool {
        var any = false
        for thread in threads {
            var status: Int32 = 0
            let result = clinux_wait(thread, &status, 0)
            if result == 0 { continue }
            any = true
            if result < 0 || Self.detach(thread, process, status) { threads.remove(thread) }
        }
        return any
    }

    /// Detaches a thread that has stopped with this status of waitpid, as if it had not been asked to: a KVM_RUN that
    /// was interrupted by that alone is made again, a signal is delivered.
    ///
    /// - Returns: false for one that is about to make a system call, which being detached would interrupt: it is for
    ///   the next stop.
    static func detach(_ thread: Int32, _ process: Int32, _ status: Int32) -> Bool {
        guard let stop = TracedThread.Stop(status: status), stop != .ended else { return true }
        var signal: Int32 = 0
        switch stop {
        case .event: SyscallRestart.restartRun(thread, process)
        case .signal(let number):
            signal = number
            SyscallRestart.completeRun(thread, process, number)
        case .ended, .exec: break
        case .systemCall:
            _ = clinux_ptrace_interrupt(thread)
            return clinux_ptrace_go(clinux_go_free, thread, 0) < 0
        }
        _ = clinux_ptrace_go(clinux_go_detach, thread, signal)
        return true
    }
}
