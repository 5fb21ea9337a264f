import CLinux
import DebugTarget
import Glibc
import KVMCore

/// Steps that the front end does not need to see, made without asking it.
extension TracedThread {
    /// How often a stop is looked for before the thread is left to itself: a step takes some tens of looks.
    private static let looks = 200
    /// So many steps at a time; in between, the front end is listened to.
    private static let stretch = 64
    /// The general and the special registers (KVM_SYNC_X86_REGS, KVM_SYNC_X86_SREGS).
    private static let needed: UInt64 = 3

    /// After a debug exit: whether the plan has it that the guest goes on. Then it is noted.
    func isCovered() -> Bool {
        guard plan != nil, !stopWanted, handledExit == nil, let memory,
            page.load(RunLayout.validRegisters, as: UInt64.self) & Self.needed == Self.needed,
            let registers = page.registers,
            plan?.covers(page.debugExit, registers, memory: memory) == true
        else { return false }
        let now = monotonicTime()
        guard untold.goesOn(after: passed.count, at: now) else { return false }
        plan?.wentOn(registers)
        passed.count += 1
        passed.last = now
        page.copyRegisters(to: &passed.registers)
        return true
    }

    /// Steps the thread, which goes on its own, for as long as the plan holds. A step is one stop of the thread and
    /// three calls here: where the shared page says that KVM_RUN ended in a debug exit, the thread's own registers
    /// need not be fetched to know where it stands.
    ///
    /// - Returns: as `clinux_wait`: the stop that ends it, which is to be handled as any other; 0 while the thread
    ///   goes.
    func stepOn(_ status: inout Int32) -> Int32 {
        for _ in 0..<Self.stretch {
            var result: Int32 = 0
            for _ in 0..<Self.looks {
                result = clinux_wait(thread, &status, 0)
                if result != 0 { break }
                sched_yield()
            }
            guard result == thread, case .going(.run) = state, !trapIsPending, isArmed,
                Stop(status: status) == .signal(SIGTRAP), page.exitReason == .debug, isCovered()
            else { return result }
            issueRunAgain()
        }
        return 0
    }
}

/// For how long steps are made that the front end is not told of. On a host with much else to do each waits for a processor,
/// and it takes those that give no sign of life for a second for one that is lost.
struct UntoldTime {
    /// In nanoseconds.
    static let longest: UInt64 = 200_000_000
    private var end: UInt64 = 0

    /// Whether one more need not be told of.
    ///
    /// - Parameters:
    ///   - count: so many were not, since the front end last heard of the thread.
    ///   - now: by `monotonicTime()`.
    mutating func goesOn(after count: UInt64, at now: UInt64) -> Bool {
        if count == 0 { end = now &+ Self.longest }
        return now < end
    }
}
