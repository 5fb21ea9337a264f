import CLinux
import Glibc
import Host

/// Finds out which threads are in KVM_RUN, and on which vCPU, by stopping each for a moment: what a thread is in that
/// never leaves the processor is not to be seen otherwise, unless the kernel can be asked.
struct ThreadLook {
    struct Found: Sendable, Hashable {
        var thread: Int32
        /// The vCPU's, in the VMM.
        var descriptor: Int32
    }

    private let process: Int32
    /// How long a thread may take to stop, in nanoseconds.
    private static let waitLimit: UInt64 = 200_000_000
    /// A thread between two calls of KVM_RUN is looked at again.
    private static let looks = 20

    private let pendingDetaches: PendingDetaches

    init(_ process: Int32, _ pendingDetaches: PendingDetaches) {
        self.process = process
        self.pendingDetaches = pendingDetaches
    }

    func look(_ threads: [Int32]) -> [Found] {
        threads.compactMap { thread in
            for _ in 0..<Self.looks {
                switch look(thread) {
                case .descriptor(let descriptor): return Found(thread: thread, descriptor: descriptor)
                case .elsewhere: usleep(200)
                case .failed: return nil
                }
            }
            return nil
        }
    }

    private enum Sight {
        case descriptor(Int32)
        case elsewhere
        case failed
    }

    /// One stop, after which the thread goes on untraced as if it had not been.
    private func look(_ thread: Int32) -> Sight {
        guard clinux_ptrace_seize(thread, TracedThread.options) >= 0 else { return .failed }
        guard clinux_ptrace_interrupt(thread) >= 0 else {
            pendingDetaches.add(thread)
            return .failed
        }
        var budget = WaitBudget(Self.waitLimit)
        var status: Int32 = 0
        while true {
            let result = clinux_wait(thread, &status, 0)
            if result > 0 { break }
            guard result == 0, !budget.isOver() else {
                pendingDetaches.add(thread)
                return .failed
            }
            _ = clinux_next_signal(1_000_000)
        }
        guard let stop = TracedThread.Stop(status: status), stop != .ended else { return .failed }
        var sight = Sight.elsewhere
        var registers = user_regs_struct()
        if clinux_ptrace_get_registers(thread, &registers) >= 0,
            registers.orig_rax == UInt64(SystemCall.ioctl),
            UInt32(truncatingIfNeeded: registers.rsi) == SystemCall.kvmRun
        {
            sight = .descriptor(Int32(truncatingIfNeeded: registers.rdi))
        }
        if !PendingDetaches.detach(thread, process, status) { pendingDetaches.add(thread) }
        return sight
    }
}
