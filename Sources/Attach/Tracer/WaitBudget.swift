import DebugTarget
import KVMCore

/// How much longer something is waited for. What counts is the time in which it was looked for: a tracer that was kept
/// from its processor in between, as all of a host may be, has not waited meanwhile.
struct WaitBudget {
    /// Counts at most so much between two looks, in nanoseconds: sleeps are shorter.
    private static let longest: UInt64 = 20_000_000

    private(set) var spent: UInt64 = 0
    private var last: UInt64
    private let limit: UInt64

    /// - Parameters:
    ///   - limit: in nanoseconds.
    ///   - now: of the monotonic clock.
    init(_ limit: UInt64, now: UInt64 = monotonicTime()) {
        self.limit = limit
        last = now
    }

    /// After a look that was in vain: whether it was the last.
    mutating func isOver(now: UInt64 = monotonicTime()) -> Bool {
        spent &+= min(now &- last, Self.longest)
        last = now
        return spent > limit
    }
}
