import Glibc
import Synchronization

/// Checks, in builds with assertions, that no two threads use something at the same time that has no lock. One thread may
/// enter several times, as a controller does that is called from within a wait.
final class ExclusiveUse: Sendable {
    /// The thread that is inside, 0 for none, and how often it has entered.
    private let owner = Atomic<UInt>(0)
    private let depth = Atomic<Int>(0)

    /// False where another thread is inside.
    func tryToEnter() -> Bool {
        let thread = UInt(pthread_self())
        if owner.load(ordering: .acquiring) != thread {
            guard
                owner.compareExchange(expected: 0, desired: thread, ordering: .acquiringAndReleasing)
                    .exchanged
            else { return false }
        }
        depth.add(1, ordering: .relaxed)
        return true
    }

    func enter() { assert(tryToEnter(), "an attached guest is used by two threads at the same time") }

    func leave() {
        assert(
            owner.load(ordering: .acquiring) == UInt(pthread_self()), "left by a thread that is not inside")
        exit()
    }

    private func exit() {
        // Builds without assertions do not enter.
        guard owner.load(ordering: .acquiring) != 0 else { return }
        if depth.subtract(1, ordering: .relaxed).newValue == 0 { owner.store(0, ordering: .releasing) }
    }
}
