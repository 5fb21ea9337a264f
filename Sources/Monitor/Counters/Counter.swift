/// How often, and for how long: of one key, since the source began or over an interval.
package struct Counter: Sendable, Equatable {
    package var count: UInt64 = 0
    /// Nanoseconds, of all that were timed.
    package var time: UInt64 = 0
    /// The longest, in nanoseconds. Over an interval it is known to its bucket only where an earlier one was longer.
    package var maximum: UInt64 = 0
    /// Of those that were timed: an exit that has not ended yet is counted and not timed.
    package var histogram = Histogram()

    package init() {}

    package init(count: UInt64) { self.count = count }

    package mutating func record(_ nanoseconds: UInt64) {
        time &+= nanoseconds
        maximum = max(maximum, nanoseconds)
        histogram.record(nanoseconds)
    }

    package mutating func add(_ other: Counter) {
        count &+= other.count
        time &+= other.time
        maximum = max(maximum, other.maximum)
        histogram.add(other.histogram)
    }

    /// Nanoseconds, on average; nil where none was timed.
    package var mean: UInt64? {
        let timed = histogram.total
        return timed == 0 ? nil : time / timed
    }

    /// What came since `earlier`. Nil where a count has gone back: the counters were reset in between.
    package func since(_ earlier: Counter) -> Counter? {
        guard count >= earlier.count, time >= earlier.time else { return nil }
        var difference = Counter()
        difference.count = count - earlier.count
        difference.time = time - earlier.time
        guard let (since, longest) = histogram.since(earlier.histogram) else { return nil }
        difference.histogram = since
        if maximum > earlier.maximum {
            difference.maximum = maximum
        } else if difference.time > 0 {
            // No single time can be longer than all together.
            difference.maximum = min(
                maximum, difference.time, Histogram.range(of: longest).upperBound)
        }
        return difference
    }

    package var isEmpty: Bool { count == 0 && time == 0 }
}
