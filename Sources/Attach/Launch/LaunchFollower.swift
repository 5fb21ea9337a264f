import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// Follows a program from its exec on, with all its threads and children, until one of them comes to its first
/// KVM_RUN: what it asked KVM for is the guest's memory map and vCPUs, and the thread stands in front of the guest's
/// first instruction.
///
/// By stops at system calls, and only until then: afterwards the vCPUs' threads are the tracer's, and all others are
/// detached and run as if they had never been traced. (A seccomp filter would cost less meanwhile, but could not be
/// taken away again: without a tracer the calls that it tells of fail.)
final class LaunchFollower {
    /// The program that was started. The VMM may be a child of it.
    let root: Int32
    private var tracees: [Int32: Tracee] = [:]
    private var machines: [LaunchedMachine] = []
    private(set) var progress = LaunchedMachine.Progress.starting
    /// The VMM's first arrival at KVM_RUN, and the last change to what is known of it; monotonic nanoseconds.
    private var firstArrival: UInt64 = 0
    private var lastNews: UInt64 = 0

    private struct Tracee {
        var process: Int32
        /// A call that is under way, to be taken in if it succeeds.
        var call: Call?
        /// It stands at the entry to KVM_RUN.
        var isWaiting = false
    }

    /// What matters of the calls that a VMM makes.
    enum Call: Equatable {
        case createMachine
        case createVCPU(machine: Int32, id: Int32)
        case setRegion(machine: Int32, LaunchedMachine.Region)
        case run(vcpu: Int32)

        /// - Parameter read: bytes of the VMM's memory.
        init?(
            number: UInt64, arguments: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64),
            read: (_ address: UInt64, _ count: Int) -> [UInt8]?
        ) {
            guard number == UInt64(SystemCall.ioctl) else { return nil }
            let descriptor = Int32(truncatingIfNeeded: arguments.0)
            switch UInt32(truncatingIfNeeded: arguments.1) {
            case Request.createVM.command: self = .createMachine
            case Request.createVCPU.command:
                self = .createVCPU(machine: descriptor, id: Int32(truncatingIfNeeded: arguments.2))
            case Request.setUserMemoryRegion.command, Request.setUserMemoryRegion2.command:
                guard
                    let region = read(arguments.2, LaunchedMachine.Region.byteCount).flatMap(
                        LaunchedMachine.Region.init)
                else { return nil }
                self = .setRegion(machine: descriptor, region)
            case SystemCall.kvmRun: self = .run(vcpu: descriptor)
            default: return nil
            }
        }
    }

    /// For how long nothing new has to have come before the vCPUs are taken to be all there, and how long those that
    /// were made may take to come to KVM_RUN: a VMM may keep some of them to itself.
    private static let quiet: UInt64 = 50_000_000
    private static let waitLimit: UInt64 = 2_000_000_000
    /// AUDIT_ARCH_X86_64.
    private static let architecture: UInt32 = 0xC000_003E

    private static let options =
        clinux_option_sysgood | clinux_option_fork | clinux_option_vfork | clinux_option_clone
        | clinux_option_exec

    /// Starts a program.
    init(_ arguments: [String], input: String, output: String) throws(HostGuestError) {
        guard let program = arguments.first, !program.isEmpty else {
            throw HostGuestError(.launch, "no program was given to be started")
        }
        let child = withCStrings(arguments) { clinux_launch($0, input, output, Self.options) }
        guard child > 0 else { throw Self.error(program, -child, input, output) }
        root = child
        tracees[child] = Tracee(process: child)
    }

    private static func error(_ program: String, _ errno: Int32, _ input: String, _ output: String)
        -> HostGuestError
    {
        let reason = String(cString: strerror(errno))
        let remedy =
            switch errno {
            case ENOENT: "is it installed, and in PATH? (its input is \(input), its output goes to \(output))"
            case EACCES: "it has to be a program that this user may run"
            case ENXIO: "nobody reads \(output): start its reader first"
            case EPERM: "tracing it needs ptrace; a container may forbid it"
            default: "" as String?
            }
        return HostGuestError(
            .launch, "`\(program)` cannot be started under the debugger (\(reason))",
            remedy: remedy?.isEmpty == true ? nil : remedy)
    }

    // MARK: Following

    /// Takes in what the threads have to say. True if there was anything.
    func collect() -> Bool {
        var any = false
        while true {
            var status: Int32 = 0
            let thread = clinux_wait(-1, &status, 0)
            guard thread > 0 else { break }
            any = true
            take(thread, status)
        }
        settle()
        return any
    }

    private func take(_ thread: Int32, _ status: Int32) {
        if status & 0x7F == 0 || status & 0xFF != 0x7F {
            tracees[thread] = nil
            if tracees.isEmpty, !isReady, progress != .bits32 { progress = .ended(status: status) }
            return
        }
        if tracees[thread] == nil {
            // Its first stop may come before its parent's, which tells of it.
            tracees[thread] = Tracee(process: Self.process(of: thread) ?? thread)
        }
        let signal = status >> 8 & 0xFF
        switch status >> 16 {
        case clinux_event_exec: executed(thread)
        case clinux_event_stop where signal != SIGTRAP:
            // A group stop: it goes on with the group.
            _ = clinux_ptrace_go(clinux_go_listen, thread, 0)
            return
        case 0 where signal == SIGTRAP | 0x80:
            if atSystemCall(thread) { return }
        case 0:
            go(thread, signal: signal)
            return
        default: break
        }
        go(thread)
    }

    private func go(_ thread: Int32, signal: Int32 = 0) {
        if clinux_ptrace_go(clinux_go_syscall, thread, signal) == -ESRCH { tracees[thread] = nil }
    }

    /// The process is another program now, and its other threads are gone.
    private func executed(_ thread: Int32) {
        let process = Self.process(of: thread) ?? thread
        tracees = tracees.filter { $0.key == thread || $0.value.process != process }
        tracees[thread] = Tracee(process: process)
        machines.removeAll { $0.process == process }
    }

    /// - Returns: whether the thread stays where it is.
    private func atSystemCall(_ thread: Int32) -> Bool {
        var info = clinux_syscall_info()
        guard clinux_ptrace_syscall_info(thread, &info) >= 0, var tracee = tracees[thread] else {
            return false
        }
        defer { if tracees[thread] != nil { tracees[thread] = tracee } }
        if info.op == 1 {
            guard info.arch == Self.architecture else {
                // ioctl is 54 there.
                if info.number == 54, UInt32(truncatingIfNeeded: info.arguments.1) == Request.createVM.command
                {
                    progress = .bits32
                }
                return false
            }
            tracee.call = Call(number: info.number, arguments: info.arguments) { address, count in
                Self.bytes(tracee.process, address, count)
            }
            guard case .run(let descriptor)? = tracee.call else { return false }
            tracee.call = nil
            tracee.isWaiting = arrived(thread, tracee.process, descriptor)
            return tracee.isWaiting
        }
        if let call = tracee.call, info.result >= 0 {
            succeeded(call, Int32(truncatingIfNeeded: info.result), thread, tracee.process)
        }
        tracee.call = nil
        return false
    }

    private func succeeded(_ call: Call, _ result: Int32, _ thread: Int32, _ process: Int32) {
        lastNews = monotonicTime()
        func change(_ descriptor: Int32, _ body: (inout LaunchedMachine) -> Void) {
            guard
                let index = machines.firstIndex(where: {
                    $0.process == process && $0.descriptor == descriptor
                })
            else { return }
            body(&machines[index])
        }
        switch call {
        case .createMachine:
            machines.removeAll { $0.process == process && $0.descriptor == result }
            machines.append(LaunchedMachine(process: process, descriptor: result))
            if progress == .starting { progress = .hasMachine }
        case .createVCPU(let machine, let id): change(machine) { $0.made(id, result, by: thread) }
        case .setRegion(let machine, let region): change(machine) { $0.set(region) }
        case .run: break
        }
    }

    /// - Returns: false if it is no vCPU of a VM that was seen to be made.
    private func arrived(_ thread: Int32, _ process: Int32, _ descriptor: Int32) -> Bool {
        for index in machines.indices where machines[index].process == process {
            for place in machines[index].vcpus.indices
            where machines[index].vcpus[place].descriptor == descriptor {
                machines[index].vcpus[place].thread = thread
                machines[index].vcpus[place].hasArrived = true
                if firstArrival == 0 { firstArrival = monotonicTime() }
                return true
            }
        }
        return false
    }

    private var isReady: Bool { if case .ready = progress { true } else { false } }

    /// Once all that can be waited for are there.
    private func settle() {
        guard !isReady, firstArrival != 0,
            let machine = machines.first(where: { $0.vcpus.contains(where: \.hasArrived) })
        else { return }
        let now = monotonicTime()
        let all = machine.vcpus.allSatisfy(\.hasArrived) && now &- max(lastNews, firstArrival) > Self.quiet
        if all || now &- firstArrival > Self.waitLimit { progress = .ready(machine) }
    }

    // MARK: Handing over

    /// Detaches every thread but the vCPUs', which are the caller's from here on: those that wait stand at the entry
    /// to KVM_RUN, the others run to their next system call. Nothing that they clone is traced any more.
    ///
    /// - Parameter pendingDetaches: those that do not stop in time.
    /// - Returns: the threads of `vcpus` that wait.
    func handOver(_ vcpus: Set<Int32>, _ pendingDetaches: PendingDetaches) -> Set<Int32> {
        let waiting = Set(tracees.filter { vcpus.contains($0.key) && $0.value.isWaiting }.keys)
        for thread in waiting { _ = clinux_ptrace_options(thread, TracedThread.options) }
        let others = Set(tracees.keys).subtracting(waiting)
        for thread in others where tracees[thread]?.isWaiting == false { _ = clinux_ptrace_interrupt(thread) }
        for thread in standing(others) {
            // A vCPU that has not come to KVM_RUN goes on when all others are detached: it may make threads.
            _ = clinux_ptrace_options(thread, TracedThread.options)
            _ = clinux_ptrace_go(clinux_go_syscall, thread, 0)
        }
        tracees = [:]
        return waiting

        /// Waits until each of `threads`, and what they clone meanwhile, has stopped, and detaches all but the vCPUs'.
        func standing(_ threads: Set<Int32>) -> [Int32] {
            var (left, kept) = (threads, [Int32]())
            var budget = WaitBudget(Self.waitLimit)
            while !left.isEmpty, !budget.isOver() {
                var any = false
                for thread in left {
                    if tracees[thread]?.isWaiting == true {
                        // A vCPU of another VM. Letting go of it right there would interrupt its KVM_RUN.
                        _ = clinux_ptrace_interrupt(thread)
                        _ = clinux_ptrace_go(clinux_go_free, thread, 0)
                        pendingDetaches.add(thread)
                        left.remove(thread)
                        continue
                    }
                    var status: Int32 = 0
                    let result = clinux_wait(thread, &status, 0)
                    if result == 0 { continue }
                    any = true
                    left.remove(thread)
                    guard result > 0, status & 0xFF == 0x7F else { continue }
                    if let new = Self.cloned(thread, status) { left.insert(new) }
                    if vcpus.contains(thread) {
                        kept.append(thread)
                    } else {
                        _ = clinux_ptrace_go(clinux_go_detach, thread, Self.signal(status))
                    }
                }
                if !any { _ = clinux_next_signal(1_000_000) }
            }
            // One that has not stopped is detached when it does.
            for thread in left { pendingDetaches.add(thread) }
            return kept
        }
    }

    /// The thread that a stop says was made.
    private static func cloned(_ thread: Int32, _ status: Int32) -> Int32? {
        var message: UInt = 0
        guard [clinux_event_clone, clinux_event_fork, clinux_event_vfork].contains(status >> 16),
            clinux_ptrace_event_message(thread, &message) >= 0
        else { return nil }
        return Int32(truncatingIfNeeded: message)
    }

    /// The signal that a stop keeps from being delivered; 0 for a stop of another kind.
    private static func signal(_ status: Int32) -> Int32 {
        let signal = status >> 8 & 0xFF
        return status >> 16 == 0 && signal != SIGTRAP | 0x80 ? signal : 0
    }

    /// Ends what was started, and what that has started.
    func kill(_ vmm: Int32?) {
        var processes = Set(tracees.values.map(\.process))
        processes.insert(root)
        if let vmm { processes.insert(vmm) }
        for process in processes { _ = clinux_kill(process, SIGKILL) }
    }

    // MARK: /proc and memory

    private static func process(of thread: Int32) -> Int32? {
        guard let status = ProcessFiles(thread).text("status") else { return nil }
        for line in status.split(separator: "\n") where line.hasPrefix("Tgid:") {
            return Int32(line.dropFirst(5).drop { $0 == "\t" || $0 == " " })
        }
        return nil
    }

    static func bytes(_ process: Int32, _ address: UInt64, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: the buffer is `count` bytes long.
        let got = clinux_process_read(process, address, &bytes, count)
        return got == count ? bytes : nil
    }
}
