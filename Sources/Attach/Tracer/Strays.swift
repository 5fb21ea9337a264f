import CLinux
import Glibc

/// Threads of a VMM that were asked to stop and have not, as they are deep in the kernel. Nobody waits for them any more,
/// and a traced thread that stops with nobody to let it go on stands still for ever: each is let go for good as soon as
/// it does stop. Used by the tracer's one thread alone.
final class Strays {
    private let process: Int32
    private var threads: Set<Int32> = []

    init(_ process: Int32) { self.process = process }

    var isEmpty: Bool { threads.isEmpty }

    func add(_ thread: Int32) { threads.insert(thread) }

    /// It is somebody's again.
    func remove(_ thread: Int32) { threads.remove(thread) }

    /// Lets go of those that have stopped. True if there was any.
    func collect() -> Bool {
        var any = false
        for thread in threads {
            var status: Int32 = 0
            let result = clinux_wait(thread, &status, 0)
            if result == 0 { continue }
            any = true
            threads.remove(thread)
            if result > 0 { Self.letGo(thread, process, status) }
        }
        return any
    }

    /// Lets go of a thread that has stopped with this status of waitpid, as if it had not been asked to: a KVM_RUN that
    /// was interrupted by that alone is made again, a signal is delivered.
    static func letGo(_ thread: Int32, _ process: Int32, _ status: Int32) {
        guard let stop = TracedThread.Stop(status: status), stop != .ended else { return }
        var signal: Int32 = 0
        switch stop {
        case .event: hideInterruption(thread, process)
        case .signal(let number): signal = number
        case .ended, .exec, .systemCall: break
        }
        _ = clinux_ptrace_go(clinux_go_detach, thread, signal)
    }

    /// The VMM sees no EINTR of a KVM_RUN that our stop has ended.
    static func hideInterruption(_ thread: Int32, _ process: Int32) {
        var registers = user_regs_struct()
        guard clinux_ptrace_get_registers(thread, &registers) >= 0, isInRun(registers, process),
            registers.rax == TracedThread.interruptedResult
        else { return }
        registers.rip = registers.rip &- 2
        registers.rax = UInt64(SystemCall.ioctl)
        registers.orig_rax = .max
        _ = clinux_ptrace_set_registers(thread, &registers)
    }

    /// Whether a stopped thread stands behind a KVM_RUN, of whatever vCPU.
    static func isInRun(_ registers: user_regs_struct, _ process: Int32) -> Bool {
        registers.orig_rax == UInt64(SystemCall.ioctl)
            && UInt32(truncatingIfNeeded: registers.rsi) == SystemCall.kvmRun
            && TracedThread.isSystemCall(process, at: registers.rip &- 2)
    }
}
