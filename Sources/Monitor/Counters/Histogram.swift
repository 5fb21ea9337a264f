/// How often times of each power of two came: bucket `n` holds those from 2^n up to 2^(n+1) nanoseconds, bucket 0 also 0.
package struct Histogram: Sendable, Equatable {
    package static let bucketCount = 64

    /// Of each bucket; none where nothing was recorded, as of most counters.
    private var buckets: [UInt64] = []

    package init() {}

    package static func bucket(of nanoseconds: UInt64) -> Int {
        nanoseconds == 0 ? 0 : 63 - nanoseconds.leadingZeroBitCount
    }

    /// The times of a bucket.
    package static func range(of bucket: Int) -> ClosedRange<UInt64> {
        let low: UInt64 = bucket == 0 ? 0 : 1 << UInt64(bucket)
        return low...(bucket >= 63 ? .max : (1 << UInt64(bucket + 1)) - 1)
    }

    package subscript(bucket: Int) -> UInt64 {
        get { buckets.isEmpty ? 0 : buckets[bucket] }
        set {
            if buckets.isEmpty {
                guard newValue != 0 else { return }
                buckets = [UInt64](repeating: 0, count: Self.bucketCount)
            }
            buckets[bucket] = newValue
        }
    }

    /// ``bucketCount`` numbers of 64 bits, as a map has them.
    init(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.contains(where: { $0 != 0 }) else { return }
        buckets = (0..<Self.bucketCount).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
    }

    /// What came since `earlier`, and the longest bucket of that.
    ///
    /// - Returns: nil where a count has gone back.
    func since(_ earlier: Histogram) -> (difference: Histogram, longest: Int)? {
        guard !earlier.buckets.isEmpty else { return (self, buckets.lastIndex { $0 != 0 } ?? 0) }
        guard !buckets.isEmpty else { return earlier.total == 0 ? (self, 0) : nil }
        var difference = Histogram()
        var longest = 0
        difference.buckets = buckets
        for bucket in 0..<Self.bucketCount {
            let before = earlier.buckets[bucket]
            guard before <= buckets[bucket] else { return nil }
            difference.buckets[bucket] -= before
            if difference.buckets[bucket] != 0 { longest = bucket }
        }
        return (difference, longest)
    }

    package var total: UInt64 {
        var total: UInt64 = 0
        for count in buckets { total &+= count }
        return total
    }

    package var isEmpty: Bool { buckets.isEmpty }

    package mutating func record(_ nanoseconds: UInt64) { self[Self.bucket(of: nanoseconds)] &+= 1 }

    package mutating func add(_ other: Histogram) {
        if buckets.isEmpty {
            buckets = other.buckets
            return
        }
        for bucket in other.buckets.indices { buckets[bucket] &+= other.buckets[bucket] }
    }

    /// The buckets that are not empty, from the shortest times on.
    package var filled: [(bucket: Int, count: UInt64)] {
        var filled: [(bucket: Int, count: UInt64)] = []
        forEachFilled { filled.append(($0, $1)) }
        return filled
    }

    var filledCount: Int { buckets.count { $0 != 0 } }

    func forEachFilled(_ body: (_ bucket: Int, _ count: UInt64) -> Void) {
        for bucket in buckets.indices where buckets[bucket] != 0 { body(bucket, buckets[bucket]) }
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
        left.buckets == right.buckets || (0..<bucketCount).allSatisfy { left[$0] == right[$0] }
    }
}
