import CLinux
import DebugTarget
import Glibc
import KVMCore
import Synchronization

/// How threads wait for a change made by another: the waiter takes ``token``, looks, and waits for it to be signalled
/// after that moment; no signal is lost in between.
///
/// A waiter spins shortly before it sleeps: a step that is ordered by one thread and done by another must not cost
/// two sleeps, and an idle guest must not cost a processor. Each line of memory that two processors write in turn
/// costs some 200 ns a hand-over, and each store to a line that another processor looks at all the time may cost as
/// much; so an event count can carry one thing, its payload, in the line that the waiter looks at, only who signals writes to that
/// line, and what the waiter notes stands in a line of its own.
// SAFETY: all but the payload and `taken` is atomic; these are written and read as `signal` and `takePayload` say.
struct EventCount<Payload: Sendable>: ~Copyable, @unchecked Sendable {
    /// How long a waiter spins, in nanoseconds: some steps of a guest, also of one that another process interrupts.
    private static var patience: UInt64 { 200_000 }
    /// Nanoseconds between two moves to another processor: one costs as much as some steps, and if the kernel undoes
    /// it, it knows of a reason.
    private static var movePause: UInt64 { 20_000_000 }

    /// Written by who signals, but for `sleepers`.
    fileprivate struct Block: ~Copyable {
        /// How often it was signalled. First, because the kernel takes its address from the block's.
        let word = Atomic<UInt32>(0)
        let sleepers = Atomic<Int32>(0)
        /// The host CPU that it was signalled on last.
        let signallingCPU = Atomic<Int32>(-1)
        /// How often it was signalled with a payload.
        let loads = Atomic<UInt32>(0)
        var payload: Payload?
    }

    /// Written by who waits, or by who takes the payload, which is one thread at a time.
    private struct Notes: ~Copyable {
        /// The payload that was taken last, by its number in `loads`.
        var taken: UInt32 = 0
        /// When the waiter last left a processor to who signals.
        let lastMove = Atomic<UInt64>(0)
        let isBusy = Atomic<Bool>(false)
    }

    /// Lines of their own, and outside any object, because the kernel needs the address.
    private let block: UnsafeMutablePointer<Block>
    private let notes: UnsafeMutablePointer<Notes>

    private let givesWay: Bool

    /// - Parameter givesWay: a waiter that finds itself on the processor of who signals goes to another one. Of two
    ///   threads that signal each other, one is to do it.
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
        // SAFETY: initialised in init; whoever waits holds the event count's owner.
        notes.deinitialize(count: 1)
        // SAFETY: as above.
        block.deinitialize(count: 1)
        // The notes are in the same allocation.
        UnsafeMutableRawPointer(block).deallocate()
    }

    /// What to give to ``wait(since:until:)``; take it before looking at what the event count is about.
    var token: UInt32 {
        // SAFETY: initialised in init, and alive with the event count.
        block.pointee.word.load(ordering: .sequentiallyConsistent)
    }

    /// Whether who takes the payload is at work on it; for that thread to set and for others to ask.
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

    /// Signals; see ``Signaller``.
    borrowing func signal() { signaller.signal() }

    /// Signals, and hands something over; see ``Signaller``.
    borrowing func signal(with payload: Payload) { signaller.signal(with: payload) }

    var signaller: Signaller { Signaller(block: block) }

    /// Who signals. To be used only as long as the event count is there.
    struct Signaller: @unchecked Sendable {
        fileprivate let block: UnsafeMutablePointer<Block>

        /// Wakes all who wait. What they look for must have been written before.
        func signal() {
            let cpu = clinux_cpu()
            // SAFETY: initialised in the event count's init, and alive with the event count.
            if block.pointee.signallingCPU.load(ordering: .relaxed) != cpu {
                // SAFETY: as above.
                block.pointee.signallingCPU.store(cpu, ordering: .relaxed)
            }
            // SAFETY: as above.
            block.pointee.word.wrappingAdd(1, ordering: .sequentiallyConsistent)
            // SAFETY: as above.
            if block.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 {
                _ = clinux_futex_wake(block)
            }
        }

        /// Signals, and hands something over. One thread at a time loads, and only when the payload before was taken.
        func signal(with payload: Payload) {
            // SAFETY: the payload before was taken, and nobody reads this one until `loads` says that it is there.
            block.pointee.payload = payload
            // SAFETY: as in `signal`. One thread at a time loads.
            let loads = block.pointee.loads.load(ordering: .relaxed)
            // SAFETY: as in `signal`.
            block.pointee.loads.store(loads &+ 1, ordering: .releasing)
            signal()
        }
    }

    /// What was handed over, once. For one thread at a time: the one that waits. The event count holds it until the next.
    borrowing func takePayload() -> Payload? {
        // SAFETY: as in `token`.
        let loads = block.pointee.loads.load(ordering: .acquiring)
        // SAFETY: only here, by one thread at a time.
        guard loads != notes.pointee.taken else { return nil }
        // SAFETY: as above.
        notes.pointee.taken = loads
        // SAFETY: `loads` says that the payload is whole, and the next is loaded only when this one was taken.
        return block.pointee.payload
    }

    /// Returns when the event count has rung since `token` was taken, or at `deadline` (as `monotonicTime()`), or early for no
    /// reason. The caller looks again.
    ///
    /// - Parameter spins: false where a wait is long as a rule, and must cost no processor.
    borrowing func wait(since token: UInt32, until deadline: UInt64? = nil, spins: Bool = true) {
        let spinEnd = spins ? min(monotonicTime() &+ Self.patience, deadline ?? .max) : 0
        repeat {
            // Whoever signals cannot while we keep his processor busy; each hand-over would cost a switch of threads.
            let cpu = clinux_cpu()
            // SAFETY: as in `token`.
            if block.pointee.signallingCPU.load(ordering: .relaxed) == cpu {
                if givesWay, lastMove &+ Self.movePause < monotonicTime() {
                    // Where there is no other, or the thread may not choose, yielding has to do.
                    _ = clinux_leave_cpu(cpu)
                    lastMove = monotonicTime()
                    continue
                }
                if spins { sched_yield() }
                if self.token != token { return }
                continue
            }
            for _ in 0..<(spins ? 32 : 1) {
                if self.token != token { return }
                clinux_pause()
            }
        } while monotonicTime() < spinEnd
        // SAFETY: as in `token`.
        block.pointee.sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // SAFETY: as in `token`.
        defer { block.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
        guard let deadline else {
            _ = clinux_futex_wait(block, token, -1)
            return
        }
        let now = monotonicTime()
        guard now < deadline else { return }
        _ = clinux_futex_wait(block, token, Int64(clamping: deadline - now))
    }
}
