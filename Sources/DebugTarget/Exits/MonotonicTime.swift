import Glibc

/// CLOCK_MONOTONIC in nanoseconds: the clock that exits are timed by.
public func monotonicTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000_000
        &+ UInt64(truncatingIfNeeded: time.tv_nsec)
}

extension Duration {
    /// In nanoseconds: 0 if negative, at most what fits.
    package var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, isBeyond) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return isBeyond ? .max : whole &+ UInt64(attoseconds / 1_000_000_000)
    }
}
