extension Duration {
    /// In nanoseconds: 0 if negative, at most what fits.
    package var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, isBeyond) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return isBeyond ? .max : whole &+ UInt64(attoseconds / 1_000_000_000)
    }
}
