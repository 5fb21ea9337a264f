import CLinux
import Glibc
import Host
import KVMCore

/// What another process does at a signal, changed by a call in the name of one of its threads that nobody traces.
enum SignalAction {
    /// `struct sigaction` as the kernel has it on x86-64: handler, flags, restorer, mask; here with SIG_IGN (1).
    static let ignore: [UInt8] = [1] + [UInt8](repeating: 0, count: size - 1)
    private static let size = 32
    /// Bytes below the stack pointer that are the thread's (the red zone of the psABI for x86-64).
    private static let redZone: UInt64 = 128

    /// Sets the action of a signal.
    ///
    /// - Parameter limit: in nanoseconds.
    /// - Returns: the action that was; nil where no thread of the process could make the call in time.
    static func exchange(_ signal: Int32, _ action: [UInt8], of process: Int32, within limit: UInt64)
        -> [UInt8]?
    {
        let deadline = monotonicTime() &+ limit
        let files = ProcessFiles(process)
        for thread in files.threads where monotonicTime() < deadline {
            guard files.isKernels(thread: thread) == false,
                let status = files.text("task/\(thread)/status").flatMap(ProcessStatus.init),
                status.tracer == 0, clinux_ptrace_seize(thread, TracedThread.options) >= 0
            else { continue }
            let call = BorrowedThread(process: process, thread: thread, deadline: deadline)
            let before = call.exchange(signal, action, isFiltered: status.seccomp == 2)
            if before != nil { return before }
        }
        return nil
    }

    /// A thread of another process, traced for one call.
    private struct BorrowedThread {
        var process: Int32
        var thread: Int32
        var deadline: UInt64

        /// One that has begun to stop is not left to itself, in nanoseconds.
        private static let limit: UInt64 = 1_000_000_000

        /// Waits for its next stop.
        private func nextStop(until deadline: UInt64 = monotonicTime() &+ limit) -> TracedThread.Stop? {
            while true {
                var status: Int32 = 0
                let result = clinux_wait(thread, &status, 0)
                if result == thread { return TracedThread.Stop(status: status) }
                if result < 0 || monotonicTime() >= deadline { return nil }
                sched_yield()
            }
        }

        /// Makes it stop before it does anything more. A signal on its way is the thread's, and comes first.
        private func stop() -> Bool {
            _ = clinux_ptrace_interrupt(thread)
            while true {
                let isLate = monotonicTime() >= deadline
                switch isLate ? nextStop() : nextStop(until: deadline) {
                case .event: return !isLate
                case .signal(let signal):
                    // Any stop spends the interrupt.
                    _ = clinux_ptrace_interrupt(thread)
                    guard clinux_ptrace_go(clinux_go_free, thread, signal) >= 0 else { return false }
                case nil where !isLate: continue
                case .ended, .exec, .systemCall, nil: return false
                }
            }
        }

        func exchange(_ signal: Int32, _ action: [UInt8], isFiltered: Bool) -> [UInt8]? {
            var before: [UInt8]?
            guard stop() else { return detach(nil) }
            let isLifted =
                clinux_ptrace_options(thread, TracedThread.options | clinux_option_suspend_seccomp) >= 0
            if isLifted || !isFiltered { before = exchange(signal, action) }
            return detach(before)
        }

        private func detach(_ result: [UInt8]?) -> [UInt8]? {
            _ = clinux_ptrace_go(clinux_go_detach, thread, 0)
            return result
        }

        private func exchange(_ signal: Int32, _ action: [UInt8]) -> [UInt8]? {
            var own = user_regs_struct()
            var mask: UInt64 = 0
            guard clinux_ptrace_get_registers(thread, &own) >= 0, own.cs == 0x33,
                TracedThread.isSystemCall(process, at: own.rip &- 2),
                clinux_ptrace_get_signal_mask(thread, &mask) >= 0
            else { return nil }
            let place = (own.rsp &- redZone &- UInt64(2 * size)) & ~15
            var saved = [UInt8](repeating: 0, count: 2 * size)
            guard clinux_process_read(process, place, &saved, saved.count) == saved.count,
                clinux_process_write(process, place, action, size) == size
            else { return nil }
            var registers = own
            registers.rip = own.rip &- 2
            registers.orig_rax = .max
            registers.rax = UInt64(SystemCall.setSignalAction)
            registers.rdi = UInt64(signal)
            registers.rsi = place
            registers.rdx = place &+ UInt64(size)
            registers.r10 = 8
            _ = clinux_ptrace_set_signal_mask(thread, .max)
            _ = clinux_ptrace_set_registers(thread, &registers)
            let isDone = makeCall()
            var before = [UInt8](repeating: 0, count: size)
            let isRead = clinux_process_read(process, place &+ UInt64(size), &before, size) == size
            _ = clinux_process_write(process, place, saved, saved.count)
            _ = clinux_ptrace_set_registers(thread, &own)
            _ = clinux_ptrace_set_signal_mask(thread, mask)
            return isDone && isRead ? before : nil
        }

        /// To the entry of the call and to its end. SIGSTOP, which no mask holds off, comes ahead of it, and is the thread's.
        private func makeCall() -> Bool {
            var (count, signal) = (0, 0 as Int32)
            for _ in 0..<8 where count < 2 {
                guard clinux_ptrace_go(clinux_go_syscall, thread, signal) >= 0, let stop = nextStop() else {
                    return false
                }
                signal = if case .signal(let number) = stop { number } else { 0 }
                if stop == .systemCall { count += 1 }
            }
            var after = user_regs_struct()
            return count == 2 && clinux_ptrace_get_registers(thread, &after) >= 0 && after.rax == 0
        }
    }
}
