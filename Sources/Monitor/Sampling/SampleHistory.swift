/// The samples of the last ten minutes, to be looked at again.
package struct SampleHistory: Sendable {
    /// So many at most, whatever the memory.
    package static let capacity = 600
    /// Of encoded samples. Hosts with so many busy guests that ten minutes take more keep fewer.
    package static let byteLimit = 24 << 20

    private struct Kept: Sendable {
        /// Without what is encoded.
        var frame: MonitorSample
        var encoded: [UInt8]
    }

    private var kept: [Kept] = []
    /// Of the oldest in `kept`.
    private var first = 0
    private var bytes = 0
    private let capacity: Int
    private let byteLimit: Int

    package init(capacity: Int = Self.capacity, byteLimit: Int = Self.byteLimit) {
        self.capacity = max(1, capacity)
        self.byteLimit = byteLimit
    }

    package mutating func append(_ sample: MonitorSample) {
        var frame = sample
        frame.cells = []
        frame.shares = [:]
        frame.lastExits = [:]
        let encoded = SampleCoding.encode(sample)
        bytes += encoded.count
        kept.append(Kept(frame: frame, encoded: encoded))
        while kept.count - first > 1, kept.count - first > capacity || bytes > byteLimit {
            bytes -= kept[first].encoded.count
            kept[first].encoded = []
            kept[first].frame.guests = []
            first += 1
        }
        // The front is given back in one go now and then.
        if first > capacity {
            kept.removeFirst(first)
            first = 0
        }
    }

    package var count: Int { kept.count - first }

    /// The numbers of the samples that are there.
    package var numbers: Range<Int> {
        guard let oldest = kept.indices.contains(first) ? kept[first].frame.number : nil else { return 0..<0 }
        return oldest..<oldest + count
    }

    /// A sample by its number; nil where it is kept no more.
    package subscript(number: Int) -> MonitorSample? {
        let numbers = numbers
        guard numbers.contains(number) else { return nil }
        let entry = kept[first + number - numbers.lowerBound]
        return SampleCoding.decode(entry.encoded, into: entry.frame)
    }

    package var latest: MonitorSample? { count == 0 ? nil : self[numbers.upperBound - 1] }
}
