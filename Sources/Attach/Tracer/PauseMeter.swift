/// How long the guest is stopped: from the first thread held to the last one resumed. Used by the tracer's thread
/// alone; times are CLOCK_MONOTONIC in nanoseconds.
final class PauseMeter {
    private var held = 0
    private var began: UInt64 = 0
    private var latest: UInt64 = 0
    /// All were found to stop together, in the pause that is on.
    private var isCommon = false
    /// Pauses that are over.
    private(set) var count: UInt64 = 0
    private(set) var last: UInt64 = 0
    private(set) var total: UInt64 = 0
    /// The last one, until it was told; 0 if it was, or if there was none since.
    private var untold: UInt64 = 0

    /// A thread is stopped from `time` on.
    func held(at time: UInt64) {
        if held == 0 {
            began = time
            isCommon = false
        }
        latest = time
        held += 1
    }

    /// A thread that was stopped goes on, or has ended.
    func went(at time: UInt64) {
        guard held > 0 else { return }
        held -= 1
        guard held == 0 else { return }
        count &+= 1
        // Never 0, which would say that there was none.
        last = max(1, time &- began)
        total &+= last
        untold = last
    }

    /// All threads are stopped: how far apart they were held, from the first to the last.
    ///
    /// - Returns: 0 for one thread alone, or if that is known of this standstill: what is held later in it was resumed
    ///   in between.
    func allStand() -> UInt64 {
        guard held > 1, !isCommon else { return 0 }
        isCommon = true
        return max(1, latest &- began)
    }

    /// More threads are to stop with the others.
    func grew() { isCommon = false }

    /// What is to be told with the next thing that is told.
    func tell() -> UInt64 {
        defer { untold = 0 }
        return untold
    }
}
