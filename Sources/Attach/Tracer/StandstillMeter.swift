/// How long the guest stands still: from the first thread held to the last one let go. Used by the tracer's thread
/// alone; times are CLOCK_MONOTONIC in nanoseconds.
final class StandstillMeter {
    private var held = 0
    private var began: UInt64 = 0
    /// Standstills that are over.
    private(set) var count: UInt64 = 0
    private(set) var last: UInt64 = 0
    private(set) var total: UInt64 = 0
    /// The last one, until it was told; 0 if it was, or if there was none since.
    private var untold: UInt64 = 0

    /// A thread stands still from `time` on.
    func held(at time: UInt64) {
        if held == 0 { began = time }
        held += 1
    }

    /// A thread that stood still goes on, or has ended.
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

    /// What is to be told with the next thing that is told.
    func tell() -> UInt64 {
        defer { untold = 0 }
        return untold
    }
}
