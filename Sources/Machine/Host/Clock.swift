import Glibc

/// CLOCK_MONOTONIC.
enum Clock {
    /// In nanoseconds.
    @inline(__always)
    static func now() -> UInt64 {
        var time = timespec()
        // Cannot fail: the clock exists and the address is good.
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
}

extension Duration {
    /// In nanoseconds: 0 if negative, at most some 292 years.
    var nanosecondsClamped: Int64 {
        let (seconds, attoseconds) = components
        if seconds < 0 || attoseconds < 0 { return 0 }
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return .max }
        let (sum, carry) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carry ? .max : sum
    }
}
