import CLinux
import Glibc
import Synchronization

/// How threads wait for a change made by another: the waiter takes ``token``, looks, and waits for the bell to ring
/// after that moment; no ring is lost in between.
///
/// A waiter spins shortly before it sleeps: a step that is ordered by one thread and done by another must not cost
/// two sleeps, and an idle guest must not cost a processor. Each line of memory that two processors write in turn
/// costs some 200 ns a hand-over, and each store to a line that another processor looks at all the time may cost as
/// much; so a bell can carry one thing, its cargo, in the line that the waiter looks at, only who rings writes to that
/// line, and what the waiter notes stands in a line of its own.
// SAFETY: all but the cargo and `taken` is atomic; these are written and read as `ring` and `takeCargo` say.
struct Bell<Cargo: Sendable>: ~Copyable, @unchecked Sendable {
    /// How long a waiter spins, in nanoseconds: some steps of a guest, also of one that another process interrupts.
    private static var patience: UInt64 { 200_000 }
    /// Nanoseconds between two moves to another processor: one costs as much as some steps, and if the kernel undoes
    /// it, it knows of a reason.
    private static var movePause: UInt64 { 20_000_000 }

    /// Written by who rings, but for `sleepers`.
    fileprivate struct Block: ~Copyable {
        /// How often it rang. First, because the kernel takes its address from the block's.
        let word = Atomic<UInt32>(0)
        let sleepers = Atomic<Int32>(0)
        /// The host CPU that it was rung on last.
        let ringer = Atomic<Int32>(-1)
        /// How often it rang with a cargo.
        let loads = Atomic<UInt32>(0)
        var cargo: Cargo?
    }

    /// Written by who waits, or by who takes the cargo, which is one thread at a time.
    private struct Notes: ~Copyable {
        /// The cargo that was taken last, by its number in `loads`.
        var taken: UInt32 = 0
        /// When the waiter last left a processor to who rings.
        let lastMove = Atomic<UInt64>(0)
        let isBusy = Atomic<Bool>(false)
    }

    /// Lines of their own, and outside any object, because the kernel needs the address.
    private let block: UnsafeMutablePointer<Block>
    private let notes: UnsafeMutablePointer<Notes>

    private let givesWay: Bool

    /// - Parameter givesWay: a waiter that finds itself on the processor of who rings goes to another one. Of two
    ///   threads that ring for each other, one is to do it.
    init(givesWay: Bool = false) {
        self.givesWay = givesWay
        // Two lines of 64 bytes: processors fetch them in pairs.
        let size = (max(MemoryLayout<Block>.stride, 1) + 127) / 128 * 128
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size + 128, alignment: 128)
        block = memory.bindMemory(to: Block.self, capacity: 1)
        notes = (memory + size).bindMemory(to: Notes.self, capacity: 1)
        // SAFETY: just allocated, large and aligned enough.
        block.initialize(to: Block())
        // SAFETY: as above.
        notes.initialize(to: Notes())
    }

    deinit {
        // SAFETY: initialised in init; whoever waits holds the bell's owner.
        notes.deinitialize(count: 1)
        // SAFETY: as above.
        block.deinitialize(count: 1)
        // The notes are in the same allocation.
        UnsafeMutableRawPointer(block).deallocate()
    }

    /// What to give to ``wait(since:until:)``; take it before looking at what the bell is about.
    var token: UInt32 {
        // SAFETY: initialised in init, and alive with the bell.
        block.pointee.word.load(ordering: .sequentiallyConsistent)
    }

    /// Whether who takes the cargo is at work on it; for that thread to set and for others to ask.
    var isBusy: Bool {
        // SAFETY: as in `token`.
        get { notes.pointee.isBusy.load(ordering: .sequentiallyConsistent) }
        // SAFETY: as in `token`.
        nonmutating set { notes.pointee.isBusy.store(newValue, ordering: .sequentiallyConsistent) }
    }

    private var lastMove: UInt64 {
        // SAFETY: as in `token`.
        get { notes.pointee.lastMove.load(ordering: .relaxed) }
        // SAFETY: as in `token`.
        nonmutating set { notes.pointee.lastMove.store(newValue, ordering: .relaxed) }
    }

    /// Rings; see ``Ringer``.
    borrowing func ring() { ringer.ring() }

    /// Rings, and hands something over; see ``Ringer``.
    borrowing func ring(with cargo: Cargo) { ringer.ring(with: cargo) }

    var ringer: Ringer { Ringer(block: block) }

    /// Who rings. To be used only as long as the bell is there.
    struct Ringer: @unchecked Sendable {
        fileprivate let block: UnsafeMutablePointer<Block>

        /// Wakes all who wait. What they look for must have been written before.
        func ring() {
            let cpu = clinux_cpu()
            // SAFETY: initialised in the bell's init, and alive with the bell.
            if block.pointee.ringer.load(ordering: .relaxed) != cpu {
                // SAFETY: as above.
                block.pointee.ringer.store(cpu, ordering: .relaxed)
            }
            // SAFETY: as above.
            block.pointee.word.wrappingAdd(1, ordering: .sequentiallyConsistent)
            // SAFETY: as above.
            if block.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 {
                _ = clinux_futex_wake(block)
            }
        }

        /// Rings, and hands something over. One thread at a time loads, and only when the cargo before was taken.
        func ring(with cargo: Cargo) {
            // SAFETY: the cargo before was taken, and nobody reads this one until `loads` says that it is there.
            block.pointee.cargo = cargo
            // SAFETY: as in `ring`. One thread at a time loads.
            let loads = block.pointee.loads.load(ordering: .relaxed)
            // SAFETY: as in `ring`.
            block.pointee.loads.store(loads &+ 1, ordering: .releasing)
            ring()
        }
    }

    /// What was handed over, once. For one thread at a time: the one that waits. The bell holds it until the next.
    borrowing func takeCargo() -> Cargo? {
        // SAFETY: as in `token`.
        let loads = block.pointee.loads.load(ordering: .acquiring)
        // SAFETY: only here, by one thread at a time.
        guard loads != notes.pointee.taken else { return nil }
        // SAFETY: as above.
        notes.pointee.taken = loads
        // SAFETY: `loads` says that the cargo is whole, and the next is loaded only when this one was taken.
        return block.pointee.cargo
    }

    /// Returns when the bell has rung since `token` was taken, or at `deadline` (as ``Clock/now()``), or early for no
    /// reason. The caller looks again.
    borrowing func wait(since token: UInt32, until deadline: UInt64? = nil) {
        let spinEnd = min(Clock.now() &+ Self.patience, deadline ?? .max)
        repeat {
            // Whoever rings cannot while we keep his processor busy; each hand-over would cost a switch of threads.
            let cpu = clinux_cpu()
            // SAFETY: as in `token`.
            if block.pointee.ringer.load(ordering: .relaxed) == cpu {
                if givesWay, lastMove &+ Self.movePause < Clock.now() {
                    // Where there is no other, or the thread may not choose, yielding has to do.
                    _ = clinux_leave_cpu(cpu)
                    lastMove = Clock.now()
                    continue
                }
                sched_yield()
                if self.token != token { return }
                continue
            }
            for _ in 0..<32 {
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
