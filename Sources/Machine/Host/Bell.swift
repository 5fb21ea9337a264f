import CLinux
import Synchronization

/// How threads wait for a change made by another: the waiter takes ``token``, looks, and waits for the bell to ring
/// after that moment; no ring is lost in between.
///
/// A waiter spins shortly before it sleeps: a step that is ordered by one thread and done by another must not cost
/// two sleeps, and an idle guest must not cost a processor.
// SAFETY: all state is atomic; the word's memory lives as long as the object.
final class Bell: @unchecked Sendable {
    /// How long a waiter spins, in nanoseconds: a few steps of a guest.
    private static let patience: UInt64 = 40_000

    /// How often it rang. Outside the object, because the kernel needs its address.
    private let word: UnsafeMutablePointer<Atomic<UInt32>>
    private let sleepers = Atomic<Int>(0)

    init() {
        word = .allocate(capacity: 1)
        // SAFETY: just allocated, for one.
        word.initialize(to: Atomic(0))
    }

    deinit {
        // SAFETY: initialised in init; whoever waits holds the object.
        word.deinitialize(count: 1)
        word.deallocate()
    }

    /// What to give to ``wait(since:until:)``; take it before looking at what the bell is about.
    var token: UInt32 {
        // SAFETY: initialised in init, and alive with the object.
        word.pointee.load(ordering: .sequentiallyConsistent)
    }

    /// Wakes all who wait. What they look for must have been written before.
    func ring() {
        // SAFETY: as in `token`.
        word.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            _ = clinux_futex_wake(word)
        }
    }

    /// Returns when the bell has rung since `token` was taken, or at `deadline` (as ``Clock/now()``), or early for no
    /// reason. The caller looks again.
    func wait(since token: UInt32, until deadline: UInt64? = nil) {
        let start = Clock.now()
        let spinEnd = min(start &+ Self.patience, deadline ?? .max)
        repeat {
            for _ in 0..<24 {
                if self.token != token { return }
                clinux_pause()
            }
        } while Clock.now() < spinEnd
        sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer { sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
        guard let deadline else {
            _ = clinux_futex_wait(word, token, -1)
            return
        }
        let now = Clock.now()
        guard now < deadline else { return }
        _ = clinux_futex_wait(word, token, Int64(clamping: deadline - now))
    }
}
