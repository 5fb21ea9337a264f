import CLinux
import Debugger
import Glibc
import Synchronization

/// A vCPU's way to the thread that ordered its run and waits for it, and back.
///
/// Between two threads an order and its report cost a step some hundred nanoseconds each way, and more for each line of
/// memory that both work on. Whoever orders step after step and waits for each borrows the vCPU and makes them
/// himself; its own thread keeps the time meanwhile, and takes over what takes longer.
///
/// The thread of a vCPU may change between any two KVM_RUNs. Kernels before 6.13 wait for a grace period of RCU then,
/// some milliseconds (`kvm_vcpu_ioctl`, synchronize_rcu); so it is lent after some such orders in a row, and after more
/// and more of them where that was dear.
final class VCPULoan: Sendable {
    private enum Holder {
        static let home: UInt8 = 0
        static let borrower: UInt8 = 1
        /// The borrower has it still, and is to bring it back.
        static let recalled: UInt8 = 2
        /// It is back, with a run that is not over.
        static let returned: UInt8 = 3
    }

    /// How long a borrower keeps it, in nanoseconds; at most twice that.
    private static var term: UInt64 { 250_000_000 }
    /// A first KVM_RUN that took longer, in nanoseconds, is put down to the change of threads.
    private static var dear: UInt64 { 1_000_000 }
    private static let orders = (least: UInt32(8), most: UInt32(16384))

    private let holder = Atomic<UInt8>(Holder.home)
    /// How often it was lent.
    private let count = Atomic<UInt32>(0)
    /// Who borrowed it last, as the kernel numbers threads.
    private let borrower = Atomic<Int32>(0)
    /// Its own thread does a job with it.
    private let isInUse = Atomic<Bool>(false)
    /// Its own thread looks every now and then whether it is lent for too long.
    private let isWatched = Atomic<Bool>(false)

    // Of the thread that orders.

    /// Awaited orders in a row that were made on the vCPU's own thread.
    private let streak = Atomic<UInt32>(0)
    private let needed = Atomic<UInt32>(orders.least)

    // Of the vCPU's own thread.

    private let seen = Atomic<UInt32>(0)
    private let deadline = Atomic<UInt64>(0)

    // MARK: the thread that orders

    /// An order of another kind was given.
    func endStreak() { streak.store(0, ordering: .relaxed) }

    /// Takes the vCPU for the run that the caller is about to wait for. False where its own thread is to make it.
    ///
    /// - Parameter bell: wakes the vCPU's own thread.
    func borrow(_ bell: Bell<(any RunController)?>.Ringer) -> Bool {
        let orders = streak.load(ordering: .relaxed)
        guard orders >= needed.load(ordering: .relaxed) else {
            streak.store(orders + 1, ordering: .relaxed)
            return false
        }
        count.store(count.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        holder.store(Holder.borrower, ordering: .sequentiallyConsistent)
        // Either its own thread is seen at work, or that thread sees that it is lent.
        guard !isInUse.load(ordering: .sequentiallyConsistent) else {
            holder.store(Holder.home, ordering: .sequentiallyConsistent)
            return false
        }
        let own = clinux_this_thread()
        if borrower.load(ordering: .relaxed) != own {
            KickSignal.admit()
            borrower.store(own, ordering: .sequentiallyConsistent)
        }
        if !isWatched.load(ordering: .sequentiallyConsistent) { bell.ring() }
        return true
    }

    /// The first run since the vCPU moved to this thread: `time` is what its first KVM_RUN took.
    func moved(time: UInt64) {
        guard time > Self.dear else { return }
        needed.store(min(needed.load(ordering: .relaxed) * 2, Self.orders.most), ordering: .relaxed)
    }

    /// The borrower's run is over.
    func giveBack() { holder.store(Holder.home, ordering: .sequentiallyConsistent) }

    /// Its own thread wants it back: the borrower is to leave the run to it. Asked between two KVM_RUNs.
    var isRecalled: Bool { holder.load(ordering: .sequentiallyConsistent) == Holder.recalled }

    /// Leaves the run to the vCPU's own thread, which is to be woken.
    func handBack() {
        streak.store(0, ordering: .relaxed)
        holder.store(Holder.returned, ordering: .sequentiallyConsistent)
    }

    // MARK: any thread

    /// The thread that has it; nil where that is its own.
    var borrowingThread: Int32? {
        switch holder.load(ordering: .sequentiallyConsistent) {
        case Holder.borrower, Holder.recalled: borrower.load(ordering: .sequentiallyConsistent)
        default: nil
        }
    }

    // MARK: the vCPU's own thread

    /// Before it does something with the vCPU. False where that is lent: the borrower does it, or says when it is back.
    func use() -> Bool {
        isInUse.store(true, ordering: .sequentiallyConsistent)
        if borrowingThread == nil { return true }
        endUse()
        return false
    }

    func endUse() { isInUse.store(false, ordering: .sequentiallyConsistent) }

    /// Whether a run was left to it that it is to go on with.
    func takeReturned() -> Bool {
        holder.compareExchange(
            expected: Holder.returned, desired: Holder.home, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// Until when it may sleep, as ``Clock/now()``; nil: nobody borrows the vCPU now.
    func watch() -> UInt64? {
        let before = seen.load(ordering: .relaxed)
        if count.load(ordering: .sequentiallyConsistent) == before, borrowingThread == nil {
            isWatched.store(false, ordering: .sequentiallyConsistent)
            // Whoever borrows it from here on sees that, or is seen.
            if borrowingThread == nil, count.load(ordering: .sequentiallyConsistent) == before { return nil }
        }
        isWatched.store(true, ordering: .sequentiallyConsistent)
        let now = Clock.now()
        var end = deadline.load(ordering: .relaxed)
        if end <= now {
            seen.store(count.load(ordering: .sequentiallyConsistent), ordering: .relaxed)
            end = now &+ Self.term
            deadline.store(end, ordering: .relaxed)
        }
        return end
    }

    /// After that sleep. True if it has been lent, once, all the time: the borrower is to be kicked.
    func recall() -> Bool {
        guard Clock.now() >= deadline.load(ordering: .relaxed),
            count.load(ordering: .sequentiallyConsistent) == seen.load(ordering: .relaxed)
        else { return false }
        return holder.compareExchange(
            expected: Holder.borrower, desired: Holder.recalled, ordering: .sequentiallyConsistent
        ).exchanged
    }
}
