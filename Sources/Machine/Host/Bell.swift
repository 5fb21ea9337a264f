import CLinux
import Glibc
import Synchronization

/// How threads wait for a change made by another: the waiter takes ``token``, looks, and waits for the bell to ring
/// after that moment; no ring is lost in between.
///
/// A waiter spins shortly before it sleeps: a step that is ordered by one thread and done by another must not cost
/// two sleeps, and an idle guest must not cost a processor. Each line of memory that two processors write in turn
/// costs some 200 ns a hand-over, so a bell can carry one thing, its cargo, in the line that the waiter looks at.
// SAFETY: all but the cargo is atomic; the cargo is written and read as `load` and `unload` say.
struct Bell<Cargo: Sendable>: ~Copyable, @unchecked Sendable {
    /// How long a waiter spins, in nanoseconds: a few steps of a guest.
    private static var patience: UInt64 { 40_000 }

    private struct Block: ~Copyable {
        /// How often it rang. First, because the kernel takes its address from the block's.
        let word = Atomic<UInt32>(0)
        let sleepers = Atomic<Int32>(0)
        /// The host CPU that it was rung on last.
        let ringer = Atomic<Int32>(-1)
        let isLoaded = Atomic<Bool>(false)
        var cargo: Cargo?
    }

    /// A line of its own, and outside any object, because the kernel needs its address.
    private let block: UnsafeMutablePointer<Block>

    init() {
        // Two lines of 64 bytes: processors fetch them in pairs.
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: max(MemoryLayout<Block>.stride, 128), alignment: 128)
        block = memory.bindMemory(to: Block.self, capacity: 1)
        // SAFETY: just allocated, large and aligned enough.
        block.initialize(to: Block())
    }

    deinit {
        // SAFETY: initialised in init; whoever waits holds the bell's owner.
        block.deinitialize(count: 1)
        block.deallocate()
    }

    /// What to give to ``wait(since:until:)``; take it before looking at what the bell is about.
    var token: UInt32 {
        // SAFETY: initialised in init, and alive with the bell.
        block.pointee.word.load(ordering: .sequentiallyConsistent)
    }

    /// Wakes all who wait. What they look for must have been written before.
    borrowing func ring() {
        // SAFETY: as in `token`.
        block.pointee.ringer.store(clinux_cpu(), ordering: .relaxed)
        // SAFETY: as in `token`.
        block.pointee.word.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // SAFETY: as in `token`.
        if block.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            _ = clinux_futex_wake(block)
        }
    }

    /// Rings, and hands something over. One thread at a time loads, and only when the cargo before was taken.
    borrowing func ring(with cargo: Cargo) {
        // SAFETY: nobody reads the cargo while `isLoaded` is false.
        block.pointee.cargo = cargo
        // SAFETY: as in `token`.
        block.pointee.isLoaded.store(true, ordering: .releasing)
        ring()
    }

    /// What was handed over, once. For one thread: the one that waits.
    borrowing func takeCargo() -> Cargo? {
        // SAFETY: as in `token`.
        guard block.pointee.isLoaded.load(ordering: .acquiring) else { return nil }
        // SAFETY: `isLoaded` was seen to be true, so the cargo is whole, and nobody writes it until it is false.
        let cargo = block.pointee.cargo
        // SAFETY: as above.
        block.pointee.cargo = nil
        // SAFETY: as in `token`.
        block.pointee.isLoaded.store(false, ordering: .releasing)
        return cargo
    }

    /// Returns when the bell has rung since `token` was taken, or at `deadline` (as ``Clock/now()``), or early for no
    /// reason. The caller looks again.
    borrowing func wait(since token: UInt32, until deadline: UInt64? = nil) {
        let spinEnd = min(Clock.now() &+ Self.patience, deadline ?? .max)
        repeat {
            // Whoever rings cannot while we keep his processor busy. Both stay ready to run, so that the kernel moves
            // one to an idle processor; were they to sleep in turns, it might leave them on one for good.
            // SAFETY: as in `token`.
            if block.pointee.ringer.load(ordering: .relaxed) == clinux_cpu() {
                sched_yield()
                if self.token != token { return }
                continue
            }
            for _ in 0..<24 {
                if self.token != token { return }
                clinux_pause()
            }
        } while Clock.now() < spinEnd
        // SAFETY: as in `token`.
        block.pointee.sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // SAFETY: as in `token`.
        defer { block.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
        guard let deadline else {
            _ = clinux_futex_wait(block, token, -1)
            return
        }
        let now = Clock.now()
        guard now < deadline else { return }
        _ = clinux_futex_wait(block, token, Int64(clamping: deadline - now))
    }
}
