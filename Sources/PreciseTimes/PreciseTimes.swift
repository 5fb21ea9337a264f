internal import Histogram

/// Times of one kind with two significant digits, where they are kept in user space: each quantile is right to one percent.
/// A HDR histogram (hdrhistogram-swift).
///
/// A module of its own, as the library's and the monitor's histograms have one name.
package struct PreciseTimes: Sendable {
    private var histogram = Histogram<UInt64>(numberOfSignificantValueDigits: .two)

    /// Longer ones, of some hundred years, count as this.
    private static let longest: UInt64 = .max / 4

    package init() {}

    /// - Parameter nanoseconds: 0 is possible.
    package mutating func record(_ nanoseconds: UInt64) { histogram.record(min(nanoseconds, Self.longest)) }

    package mutating func add(_ other: PreciseTimes) { histogram.add(other.histogram) }

    package var total: UInt64 { histogram.totalCount }

    /// The time that a share of all stay at or below, in nanoseconds; nil where there are none.
    ///
    /// - Parameter share: 0 to 1.
    package func quantile(_ share: Double) -> UInt64? {
        total == 0 ? nil : histogram.valueAtPercentile(max(0, min(share, 1)) * 100)
    }
}
