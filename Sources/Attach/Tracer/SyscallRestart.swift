import CLinux
import Glibc
import Host

/// The EINTR of a KVM_RUN, which the VMM sees where a signal to the thread has ended it, and not where a stop of ours
/// has. Of threads that stand in a stop.
enum SyscallRestart {
    /// Makes a KVM_RUN that was interrupted be made again.
    ///
    /// - Returns: whether it was.
    @discardableResult
    static func restartRun(_ thread: Int32, _ process: Int32) -> Bool {
        var registers = user_regs_struct()
        guard clinux_ptrace_get_registers(thread, &registers) >= 0, isInRun(registers, process),
            registers.rax == TracedThread.interruptedResult
        else { return false }
        registers.rip = registers.rip &- 2
        registers.rax = UInt64(SystemCall.ioctl)
        registers.orig_rax = .max
        return clinux_ptrace_set_registers(thread, &registers) >= 0
    }

    /// A signal is about to be delivered to a thread that stands before a KVM_RUN which is to be made again: it is seen
    /// to have ended that.
    static func completeRun(_ thread: Int32, _ process: Int32, _ signal: Int32) {
        var registers = user_regs_struct()
        guard clinux_ptrace_get_registers(thread, &registers) >= 0, registers.orig_rax == .max,
            registers.rax == UInt64(SystemCall.ioctl),
            UInt32(truncatingIfNeeded: registers.rsi) == SystemCall.kvmRun,
            TracedThread.isSystemCall(process, at: registers.rip), isCaught(signal, process)
        else { return }
        registers.rip = registers.rip &+ 2
        registers.rax = TracedThread.interruptedResult
        _ = clinux_ptrace_set_registers(thread, &registers)
    }

    /// Whether a thread stands after a KVM_RUN, of whatever vCPU.
    static func isInRun(_ registers: user_regs_struct, _ process: Int32) -> Bool {
        registers.orig_rax == UInt64(SystemCall.ioctl)
            && UInt32(truncatingIfNeeded: registers.rsi) == SystemCall.kvmRun
            && TracedThread.isSystemCall(process, at: registers.rip &- 2)
    }

    /// Whether the process has a handler for a signal: without one it would not have ended KVM_RUN.
    static func isCaught(_ signal: Int32, _ process: Int32) -> Bool {
        ProcessFiles(process).text("status").flatMap(ProcessStatus.init).map {
            $0.caughtSignals >> UInt64(signal - 1) & 1 == 1
        } ?? true
    }
}
