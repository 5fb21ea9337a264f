/// How often times of each power of two came: bucket `n` holds those from 2^n up to 2^(n+1) nanoseconds, bucket 0 also 0.
package struct Histogram: Sendable, Equatable {
    package static let bucketCount = 64

    /// Of the buckets from ``first`` on, as many as hold something: most counters have few, or none. There are thousands of
    /// histograms.
    private var counts: [UInt64] = []
    private var first = 0

    package init() {}

    package static func bucket(of nanoseconds: UInt64) -> Int {
        nanoseconds == 0 ? 0 : 63 - nanoseconds.leadingZeroBitCount
    }

    /// The times of a bucket.
    package static func range(of bucket: Int) -> ClosedRange<UInt64> {
        let low: UInt64 = bucket == 0 ? 0 : 1 << UInt64(bucket)
        return low...(bucket >= 63 ? .max : (1 << UInt64(bucket + 1)) - 1)
    }

    /// - Parameter bucket: 0 to 63.
    package subscript(bucket: Int) -> UInt64 {
        get {
            let place = bucket - first
            return place >= 0 && place < counts.count ? counts[place] : 0
        }
        set {
            precondition((0..<Self.bucketCount).contains(bucket), "a histogram has 64 buckets")
            if newValue == 0, self[bucket] == 0 { return }
            reach(bucket)
            counts[bucket - first] = newValue
        }
    }

    /// Makes room for a bucket.
    private mutating func reach(_ bucket: Int) {
        if counts.isEmpty { first = bucket }
        if bucket < first {
            counts.insert(contentsOf: repeatElement(0, count: first - bucket), at: 0)
            first = bucket
        }
        let missing = bucket - first - counts.count + 1
        if missing > 0 { counts.append(contentsOf: repeatElement(0, count: missing)) }
    }

    /// ``bucketCount`` numbers of 64 bits, as a map has them.
    init(_ bytes: UnsafeRawBufferPointer) {
        func count(_ bucket: Int) -> UInt64 {
            bytes.loadUnaligned(fromByteOffset: bucket * 8, as: UInt64.self)
        }
        guard let low = (0..<Self.bucketCount).first(where: { count($0) != 0 }),
            let high = (low..<Self.bucketCount).last(where: { count($0) != 0 })
        else { return }
        first = low
        counts = (low...high).map(count)
    }

    /// What came since `earlier`, and the longest bucket of that.
    ///
    /// - Returns: nil where a count has gone back.
    func since(_ earlier: Histogram) -> (difference: Histogram, longest: Int)? {
        guard !earlier.isEmpty else { return (self, counts.lastIndex { $0 != 0 }.map { $0 + first } ?? 0) }
        var difference = self
        for (place, before) in earlier.counts.enumerated() where before != 0 {
            let own = place + earlier.first - first
            guard own >= 0, own < counts.count, counts[own] >= before else { return nil }
            difference.counts[own] -= before
        }
        return (difference, difference.counts.lastIndex { $0 != 0 }.map { $0 + first } ?? 0)
    }

    package var total: UInt64 {
        var total: UInt64 = 0
        for count in counts { total &+= count }
        return total
    }

    /// Nothing was ever recorded.
    package var isEmpty: Bool { counts.isEmpty }

    package mutating func record(_ nanoseconds: UInt64) {
        let bucket = Self.bucket(of: nanoseconds)
        let place = bucket - first
        if place < 0 || place >= counts.count { reach(bucket) }
        counts[bucket - first] &+= 1
    }

    package mutating func add(_ other: Histogram) {
        guard !other.isEmpty else { return }
        guard !isEmpty else {
            self = other
            return
        }
        reach(other.first)
        reach(other.first + other.counts.count - 1)
        let shift = other.first - first
        for place in other.counts.indices { counts[place + shift] &+= other.counts[place] }
    }

    /// The buckets that are not empty, from the shortest times on.
    package var filled: [(bucket: Int, count: UInt64)] {
        var filled: [(bucket: Int, count: UInt64)] = []
        forEachFilled { filled.append(($0, $1)) }
        return filled
    }

    var filledCount: Int { counts.count { $0 != 0 } }

    func forEachFilled(_ body: (_ bucket: Int, _ count: UInt64) -> Void) {
        for place in counts.indices where counts[place] != 0 { body(place + first, counts[place]) }
    }

    /// The time that a share of all stay below, in nanoseconds: the right bucket, and within it as though its times were
    /// spread evenly. Nil where there are none.
    package func quantile(_ share: Double) -> UInt64? {
        let total = total
        guard total > 0 else { return nil }
        let wanted = max(1, (share * Double(total)).rounded(.up))
        var below: UInt64 = 0
        for (bucket, count) in filled {
            if Double(below) + Double(count) >= wanted {
                let range = Self.range(of: bucket)
                let part = max(0, min(1, (wanted - Double(below)) / Double(count)))
                let width = range.upperBound - range.lowerBound
                // A width of 63 bits is rounded up on its way.
                let step = Double(width) * part
                return range.lowerBound + (step >= Double(width) ? width : UInt64(step))
            }
            below &+= count
        }
        return nil
    }

    package static func == (left: Histogram, right: Histogram) -> Bool {
        left.first == right.first && left.counts == right.counts
            || (0..<bucketCount).allSatisfy { left[$0] == right[$0] }
    }
}
