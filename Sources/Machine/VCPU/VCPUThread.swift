import CLinux
import DebugTarget
import Glibc
import KVMCore
import Locking
import Synchronization
import SystemPackage

/// The thread of one vCPU, seen from other threads: they leave work here, and kick the vCPU out of KVM_RUN.
///
/// The thread sleeps while there is nothing to do. Only it ever touches the `VCPU`.
final class VCPUThread: Sendable {
    let id: Int
    private let immediateExit: ImmediateExit
    private let handle = Lock<pthread_t?>(nil)
    /// The kernel's number of the thread; 0 until it runs.
    private let number = Atomic<Int32>(0)
    /// Counts when there is work, and when the thread has come up; carries who decides in the run to make.
    let work = EventCount<any RunController>(givesWay: true)
    /// Counts kicks, for a vCPU that waits in a HLT outside KVM_RUN.
    let kicks = EventCount<Never>()
    /// Someone wants something of the thread while it runs the guest.
    let attention = Atomic<Bool>(false)
    private let jobs = Lock<[Job]>([])
    private let hasJobs = Atomic<Bool>(false)
    private let quits = Atomic<Bool>(false)
    /// Why the thread has no timer, and so does not serve.
    private let refusal = Lock<Errno?>(nil)

    /// Work to do, as the thread takes it.
    enum Work {
        case job(Job)
        case run(any RunController)
        case quit
    }

    init(id: Int, immediateExit: ImmediateExit) {
        self.id = id
        self.immediateExit = immediateExit
    }

    var threadID: Int32 { number.load(ordering: .acquiring) }

    /// The caller runs on it.
    var isCurrent: Bool { threadID == clinux_thread_id() }

    // MARK: from other threads

    /// Has `job` done: at once if the vCPU is stopped, or between two KVM_RUNs.
    func perform(_ job: Job) {
        jobs.withLock { jobs in
            jobs.append(job)
            hasJobs.store(true, ordering: .sequentiallyConsistent)
        }
        // Either the thread is seen to be out, or it sees the job before it enters the guest.
        if work.isBusy { kick() } else { work.signal() }
    }

    /// Resumes the vCPU; the run before must be over.
    func run(_ controller: any RunController) { work.signal(with: controller) }

    /// Makes KVM_RUN return, or not be entered. Never lost: `immediate_exit` is seen by a KVM_RUN that begins after
    /// it was set, the signal by one that has begun; and ``attention`` says that it was meant.
    func kick() {
        attention.store(true, ordering: .sequentiallyConsistent)
        immediateExit.request()
        kicks.signal()
        handle.withLock { thread in
            if let thread { pthread_kill(thread, KickSignal.number) }
        }
    }

    /// A job that came before the run was seen did not kick.
    private func noticeJobs() {
        if hasJobs.load(ordering: .sequentiallyConsistent) {
            attention.store(true, ordering: .sequentiallyConsistent)
        }
    }

    /// Ends the thread and waits for it; a run must have been stopped before.
    func end() {
        quits.store(true, ordering: .sequentiallyConsistent)
        work.signal()
        let thread = handle.withLock { handle in
            let thread = handle
            handle = nil
            return thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    // MARK: on the thread

    /// The next piece of work, or nil.
    func take() -> Work? {
        if hasJobs.load(ordering: .sequentiallyConsistent) {
            let job: Job? = jobs.withLock { jobs in
                let job = jobs.isEmpty ? nil : jobs.removeFirst()
                hasJobs.store(!jobs.isEmpty, ordering: .sequentiallyConsistent)
                return job
            }
            if let job { return .job(job) }
        }
        if let controller = work.takePayload() {
            work.isBusy = true
            noticeJobs()
            return .run(controller)
        }
        return quits.load(ordering: .sequentiallyConsistent) ? .quit : nil
    }

    /// There was nothing to do: until there may be.
    func wait(since token: UInt32) { work.wait(since: token) }

    /// While running: the jobs left meanwhile, in order.
    func takeJobs() -> [Job] {
        guard hasJobs.load(ordering: .sequentiallyConsistent) else { return [] }
        return jobs.withLock { jobs in
            let all = jobs
            jobs = []
            hasJobs.store(false, ordering: .sequentiallyConsistent)
            return all
        }
    }

    /// The run is over.
    func isBack() { work.isBusy = false }

    /// Takes a kick: what it was for must be looked at after this.
    func acknowledge() {
        // In this order: a kick in between leaves `immediate_exit` set, and KVM_RUN returns once for nothing.
        immediateExit.clear()
        attention.store(false, ordering: .sequentiallyConsistent)
    }

    /// Starts the thread, which calls `body` once, with the timer that is its own.
    func start(_ body: @escaping @Sendable (KickTimer) -> Void) throws(MachineError) {
        let thread: pthread_t
        do {
            thread = try KickSignal.startThread { [self] in
                _ = clinux_name_thread("vcpu \(id)")
                let own = clinux_thread_id()
                var timer: KickTimer?
                do throws(Errno) {
                    timer = try KickTimer(thread: own)
                } catch {
                    refusal.withLock { $0 = error }
                }
                number.store(own, ordering: .releasing)
                work.signal()
                if let timer { body(timer) }
            }
        } catch {
            throw MachineError(
                .thread, "cannot start a thread for vCPU \(id): \(error)",
                remedy: "see `ulimit -u` and the cgroup's pids.max")
        }
        handle.withLock { $0 = thread }
        while threadID == 0 {
            let token = work.token
            if threadID == 0 { work.wait(since: token) }
        }
        if let refused = refusal.withLock({ $0 }) {
            end()
            throw MachineError(
                .thread, "cannot make the timer of vCPU \(id): \(refused)",
                remedy: "see `ulimit -i`: each vCPU takes one signal that can be pending")
        }
    }
}
