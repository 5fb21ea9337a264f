internal import Histogram

/// Times of one kind with two significant digits, where they are kept in user space: each quantile is right to one percent.
/// A HDR histogram (hdrhistogram-swift).
///
/// A module of its own, as the library's and the monitor's histograms have one name. It takes some 10 KB where the longest
/// time is some milliseconds; ``TimeBins`` has the same in far fewer bytes.
package struct PreciseTimes: Sendable {
    private var histogram = Histogram<UInt32>(numberOfSignificantValueDigits: .two)

    /// Longer ones, of some hundred years, count as this.
    private static let longest: UInt64 = .max / 4

    package init() {}

    /// After 2^32 no more are recorded, as ``total`` tells: a count has 32 bits.
    ///
    /// - Parameter nanoseconds: 0 is possible.
    package mutating func record(_ nanoseconds: UInt64) {
        guard histogram.totalCount < UInt64(UInt32.max) else { return }
        histogram.record(min(nanoseconds, Self.longest))
    }

    package mutating func add(_ bins: TimeBins) {
        for bin in bins.bins {
            guard histogram.totalCount + UInt64(bin.count) <= UInt64(UInt32.max) else { return }
            histogram.record(min(bin.time, Self.longest), count: bin.count)
        }
    }

    /// Forgets all times and keeps the memory.
    package mutating func reset() { histogram.reset() }

    package var total: UInt64 { histogram.totalCount }

    /// The longest, to the nanosecond.
    package var maximum: UInt64 { histogram.maxRecorded }

    /// The time that a share of all stay at or below, in nanoseconds; nil where there are none.
    ///
    /// - Parameter share: 0 to 1.
    package func quantile(_ share: Double) -> UInt64? {
        total == 0 ? nil : histogram.valueAtPercentile(max(0, min(share, 1)) * 100)
    }

    /// The same without what is empty.
    package var bins: TimeBins {
        var bins: [TimeBins.Bin] = []
        guard total > 0 else { return TimeBins(bins) }
        var (time, left) = (histogram.min, total)
        while left > 0, time <= histogram.maxRecorded {
            let count = histogram.countForValue(time)
            if count > 0 { bins.append(TimeBins.Bin(time: time, count: count)) }
            left -= min(left, UInt64(count))
            time = histogram.nextNonEquivalentForValue(time)
        }
        // In the last bin: added to another, the longest time stays what it is.
        if let last = bins.indices.last { bins[last].time = histogram.maxRecorded }
        return TimeBins(bins)
    }
}

/// The times of a ``PreciseTimes`` as a list: those that cannot be told apart are one entry.
package struct TimeBins: Sendable, Hashable {
    package struct Bin: Sendable, Hashable {
        /// Nanoseconds: the shortest of those that count as the same; in the last bin the longest of all.
        package var time: UInt64
        package var count: UInt32

        package init(time: UInt64, count: UInt32) {
            self.time = time
            self.count = count
        }
    }

    /// From the shortest on.
    package var bins: [Bin]

    package init(_ bins: [Bin]) { self.bins = bins }

    package var total: UInt64 { bins.reduce(0) { $0 + UInt64($1.count) } }
}
