import CLinux
import Glibc
import Host

/// The threads of a VMM of which some are to run vCPUs that no thread has run yet.
///
/// Which thread will run such a vCPU nobody can say, and a call on the vCPU waits for as long as another thread is in
/// its KVM_RUN. So calls are made while all of them are stopped: then none is in KVM_RUN, nor can come there. While
/// something of ours waits in the vCPU (guest debug, patches) their system calls are watched instead, until one of them
/// is about to run it: the guest's first instruction is still to come then.
final class NonVCPUThreads {
    enum State {
        case going
        case held(user_regs_struct)
    }

    private let process: Int32
    private(set) var threads: [Int32: State] = [:]
    /// They go from system call to system call, and what they make is traced, too.
    private(set) var isWatching = false

    /// How long they may take to stop, in nanoseconds.
    private static let limit: UInt64 = 2_000_000_000
    private static let watching = TracedThread.options | clinux_option_clone

    private let pendingDetaches: PendingDetaches
    /// Those whose KVM_RUN is made again, as nothing but a stop of ours was seen to interrupt it.
    private var inAgain: Set<Int32> = []

    init(_ process: Int32, _ pendingDetaches: PendingDetaches) {
        self.process = process
        self.pendingDetaches = pendingDetaches
    }

    var isEmpty: Bool { threads.isEmpty }

    /// A thread that stands at the entry to KVM_RUN, and is the caller's from then on.
    struct Runner {
        var thread: Int32
        /// The vCPU's, in the VMM.
        var descriptor: Int32
    }

    // MARK: Standing still

    /// Stops every thread of the VMM but `known`, until none is left that runs.
    ///
    /// - Parameter isWanted: whether a KVM_RUN that one is about to call is to be told of.
    /// - Throws: where one does not stop in time; then all go on.
    func hold(except known: Set<Int32>, isWanted: (Int32) -> Bool) throws(HostGuestError) -> [Runner] {
        var runners: [Runner] = []
        var budget = ThreadWait(Self.limit)
        do throws(HostGuestError) {
            while true {
                let new = ProcessFiles(process).threads.filter { threads[$0] == nil && !known.contains($0) }
                    .filter { thread in !runners.contains { $0.thread == thread } }
                var seized = false
                for thread in new where try seize(thread) { seized = true }
                if !seized, goingThreads.isEmpty { return runners }
                for thread in goingThreads { _ = clinux_ptrace_interrupt(thread) }
                while !goingThreads.isEmpty {
                    runners += collect(isStopping: true, isWanted: isWanted)
                    guard let late = goingThreads.first else { break }
                    guard !budget.isOver(for: late, of: process) else {
                        throw HostGuestError(
                            .notRunning,
                            "thread \(late) of the VMM (\(ProcessFiles(process).place(of: late))) does not stop "
                                + "within 2 s",
                            remedy: "it is deep in the kernel or the host is overloaded; try again")
                    }
                    if !goingThreads.isEmpty { _ = clinux_next_signal(500_000) }
                }
            }
        } catch {
            if isWatching { watch() } else { detach() }
            throw error
        }
    }

    private var goingThreads: [Int32] {
        threads.compactMap { if case .going = $0.value { $0.key } else { nil } }
    }

    /// - Returns: false for one that is gone, or none of the VMM's own.
    private func seize(_ thread: Int32) throws(HostGuestError) -> Bool {
        let files = ProcessFiles(process)
        guard files.isKernels(thread: thread) == false,
            let status = files.text("task/\(thread)/status").flatMap(ProcessStatus.init)
        else { return false }
        guard status.tracer == 0 else {
            guard status.tracer == getpid() else {
                throw HostGuestError(
                    .traced, "thread \(thread) of the VMM is already traced by process \(status.tracer)",
                    remedy: "end that debugger (or strace) first")
            }
            pendingDetaches.remove(thread)
            threads[thread] = .going
            return true
        }
        let result = clinux_ptrace_seize(thread, isWatching ? Self.watching : TracedThread.options)
        if result == -ESRCH { return false }
        guard result >= 0 else { throw TracedThread.seizeError(-result, thread) }
        threads[thread] = .going
        return true
    }

    // MARK: What they come to

    /// Takes in what those that go have to say.
    ///
    /// - Parameter isStopping: they are to stop.
    func collect(isStopping: Bool = false, isWanted: (Int32) -> Bool) -> [Runner] {
        var runners: [Runner] = []
        for thread in goingThreads {
            var status: Int32 = 0
            let result = clinux_wait(thread, &status, 0)
            if result == 0 { continue }
            guard result > 0 else {
                threads[thread] = nil
                continue
            }
            switch TracedThread.Stop(status: status) {
            case .ended: threads[thread] = nil
            case .exec: leave(to: thread)
            case .event(let signal):
                // The stop that was asked for is the only one that does not spend the asking.
                if isStopping {
                    hold(thread)
                    continue
                } else if signal == SIGTRAP {
                    SyscallRestart.restartRun(thread, process)
                    go(thread)
                } else if clinux_ptrace_go(clinux_go_listen, thread, 0) < 0 {
                    lose(thread)
                }
            case .systemCall:
                if let descriptor = entersRun(thread), isWanted(descriptor) {
                    threads[thread] = nil
                    runners.append(Runner(thread: thread, descriptor: descriptor))
                    continue
                }
                go(thread, isStopping: isStopping)
            case .signal(let signal):
                SyscallRestart.completeRun(thread, process, signal)
                go(thread, signal: signal, isStopping: isStopping)
            case nil:
                noteClone(thread, status)
                go(thread, isStopping: isStopping)
            }
        }
        return runners
    }

    /// Takes in the ends of those that are stopped: until then their process cannot end, nor become another program.
    /// True if there was any.
    func collectEnds() -> Bool {
        var any = false
        for (thread, state) in threads {
            guard case .held = state else { continue }
            var status: Int32 = 0
            let result = clinux_wait(thread, &status, 0)
            if result == 0 { continue }
            any = true
            if result > 0, TracedThread.Stop(status: status) == .exec {
                leave(to: thread)
            } else if result < 0 || TracedThread.Stop(status: status) == .ended {
                threads[thread] = nil
            }
        }
        return any
    }

    /// The VMM is another program now, and nobody's: all its other threads have ended.
    private func leave(to thread: Int32) {
        _ = clinux_ptrace_go(clinux_go_detach, thread, 0)
        threads = [:]
    }

    /// It does not stand where it stood: it was killed.
    private func lose(_ thread: Int32) {
        threads[thread] = nil
        pendingDetaches.add(thread)
    }

    /// One that has just been made is among them. It may have been found already.
    private func noteClone(_ thread: Int32, _ status: Int32) {
        var message: UInt = 0
        guard status >> 16 == clinux_event_clone, clinux_ptrace_event_message(thread, &message) >= 0
        else { return }
        let new = Int32(truncatingIfNeeded: message)
        if threads[new] == nil { threads[new] = .going }
    }

    private func hold(_ thread: Int32) {
        var registers = user_regs_struct()
        guard clinux_ptrace_get_registers(thread, &registers) >= 0 else { return lose(thread) }
        threads[thread] = .held(registers)
    }

    /// At a system call: the vCPU that the thread is about to run, if it is. One that comes back from that and was
    /// interrupted makes it again, once: see ``TracedThread/isIssuedAgain``.
    private func entersRun(_ thread: Int32) -> Int32? {
        var info = clinux_syscall_info()
        guard clinux_ptrace_syscall_info(thread, &info) >= 0 else { return nil }
        guard info.op == 1 else {
            if inAgain.remove(thread) == nil, SyscallRestart.restartRun(thread, process) {
                inAgain.insert(thread)
            }
            return nil
        }
        guard info.number == UInt64(SystemCall.ioctl),
            UInt32(truncatingIfNeeded: info.arguments.1) == SystemCall.kvmRun
        else { return nil }
        return Int32(truncatingIfNeeded: info.arguments.0)
    }

    /// - Parameter isStopping: it is to stop once more, before it runs the VMM's code: any stop spends an interrupt that
    ///   was under way.
    private func go(_ thread: Int32, signal: Int32 = 0, isStopping: Bool = false) {
        if isStopping { _ = clinux_ptrace_interrupt(thread) }
        let how = isWatching ? clinux_go_syscall : clinux_go_free
        if clinux_ptrace_go(how, thread, signal) == -ESRCH { lose(thread) }
    }

    // MARK: Of those that are stopped

    /// One that was in KVM_RUN with this descriptor, which it is from now on the thread of.
    func takeRunner(of descriptor: Int32) -> Int32? {
        for (thread, state) in threads {
            guard case .held(let registers) = state, SyscallRestart.isInRun(registers, process),
                Int32(truncatingIfNeeded: registers.rdi) == descriptor
            else { continue }
            threads[thread] = nil
            return thread
        }
        return nil
    }

    /// One in whose name calls can be made: it stands after a system call that our stop interrupted, and which it
    /// makes again when it goes on with these registers.
    var carrier: (thread: Int32, registers: user_regs_struct)? {
        for (thread, state) in threads.sorted(by: { $0.key > $1.key }) {
            guard case .held(let registers) = state, registers.cs == 0x33,
                TracedThread.isSystemCall(process, at: registers.rip &- 2)
            else { continue }
            return (thread, registers)
        }
        return nil
    }

    // MARK: Going on

    /// Lets those that are stopped go, watched.
    func watch() {
        isWatching = true
        for (thread, state) in threads {
            guard case .held = state else { continue }
            threads[thread] = .going
            _ = clinux_ptrace_options(thread, Self.watching)
            SyscallRestart.restartRun(thread, process)
            // Their process may have been stopped by a signal meanwhile: each says so at one more stop, before it goes.
            _ = clinux_ptrace_interrupt(thread)
            go(thread)
        }
    }

    /// Lets all go, untraced.
    func detach() {
        // Of those that go, each has to be caught once more.
        var budget = WaitBudget(Self.limit)
        for thread in goingThreads { _ = clinux_ptrace_interrupt(thread) }
        while !goingThreads.isEmpty, !budget.isOver() {
            _ = collect(isStopping: true) { _ in false }
            if !goingThreads.isEmpty { _ = clinux_next_signal(500_000) }
        }
        // One that has not stopped is detached when it does.
        for thread in goingThreads {
            pendingDetaches.add(thread)
            threads[thread] = nil
        }
        for thread in threads.keys {
            SyscallRestart.restartRun(thread, process)
            _ = clinux_ptrace_go(clinux_go_detach, thread, 0)
        }
        threads = [:]
        isWatching = false
    }
}
