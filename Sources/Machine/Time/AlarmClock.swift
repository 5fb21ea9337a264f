import DebugTarget
import Glibc
import KVMCore
import Locking
import Synchronization

/// Gets a vCPU out of KVM_RUN at a time: a guest that makes no exits has interrupts to take.
///
/// Its thread sleeps until the time that was asked for last. A later time wakes it for nothing once, which is cheaper than
/// telling it of each.
final class AlarmClock: Sendable {
    private let deadline = Atomic<UInt64>(.max)
    /// Until when the thread sleeps.
    private let sleepsUntil = Atomic<UInt64>(.max)
    private let changes = EventCount<Never>()
    private let quits = Atomic<Bool>(false)
    private let ring: @Sendable () -> Void
    private let thread = Lock<pthread_t?>(nil)

    /// - Parameter ring: called on the clock's thread when a time has come.
    init(ring: @escaping @Sendable () -> Void) { self.ring = ring }

    func start() throws(MachineError) {
        do {
            let made = try KickSignal.startThread { [self] in run() }
            thread.withLock { $0 = made }
        } catch {
            throw MachineError(
                .thread, "cannot start the thread of the guest's timer: \(error)",
                remedy: "see `ulimit -u` and the cgroup's pids.max")
        }
    }

    /// Rings at `time` (as `monotonicTime()`), and at no time asked for before; nil rings never.
    func set(_ time: UInt64?) {
        let time = time ?? .max
        deadline.store(time, ordering: .sequentiallyConsistent)
        if time < sleepsUntil.load(ordering: .sequentiallyConsistent) { changes.signal() }
    }

    /// Ends the thread and waits for it.
    func end() {
        quits.store(true, ordering: .sequentiallyConsistent)
        changes.signal()
        let ended = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let ended { pthread_join(ended, nil) }
    }

    private func run() {
        while !quits.load(ordering: .sequentiallyConsistent) {
            let token = changes.token
            let wanted = deadline.load(ordering: .sequentiallyConsistent)
            sleepsUntil.store(wanted, ordering: .sequentiallyConsistent)
            // One that was set meanwhile has not signalled: it saw the time before.
            if deadline.load(ordering: .sequentiallyConsistent) < wanted { continue }
            if wanted <= monotonicTime() {
                if deadline.compareExchange(
                    expected: wanted, desired: .max, ordering: .sequentiallyConsistent
                ).exchanged {
                    ring()
                }
                continue
            }
            changes.wait(since: token, until: wanted == .max ? nil : wanted, spins: false)
        }
    }
}
