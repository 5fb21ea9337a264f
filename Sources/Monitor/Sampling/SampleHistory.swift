/// The samples of the last ten minutes, to be looked at again. Precise times of older ones are given up first: those are
/// known to a power of two then.
package struct SampleHistory: Sendable {
    /// So many at most, whatever the memory.
    package static let capacity = 600
    /// Of encoded samples. Hosts with so many busy guests that ten minutes take more keep fewer.
    package static let byteLimit = 24 << 20
    /// Of these, precise times may have one part of so many.
    private static let preciseShare = 3

    private struct Kept: Sendable {
        /// Without what is encoded.
        var frame: MonitorSample
        var encoded: [UInt8]
        var precise: [UInt8]
        var byteCount: Int { encoded.count + precise.count }
    }

    private var kept: [Kept] = []
    /// Of the oldest in `kept`.
    private var first = 0
    /// Of the oldest with precise times, if any has some.
    private var firstPrecise = 0
    private var bytes = 0
    private var preciseBytes = 0
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
        frame.preciseTimes = [:]
        let new = Kept(
            frame: frame, encoded: SampleCoding.encode(sample), precise: SampleCoding.encodePrecise(sample))
        bytes += new.byteCount
        preciseBytes += new.precise.count
        kept.append(new)
        while preciseBytes > byteLimit / Self.preciseShare, firstPrecise < kept.count - 1 {
            dropPrecise(firstPrecise)
        }
        while kept.count - first > 1, kept.count - first > capacity || bytes > byteLimit {
            dropPrecise(first)
            bytes -= kept[first].encoded.count
            kept[first].encoded = []
            kept[first].frame.guests = []
            first += 1
        }
        // The front is given back in one go now and then.
        if first > capacity {
            kept.removeFirst(first)
            firstPrecise = max(0, firstPrecise - first)
            first = 0
        }
    }

    private mutating func dropPrecise(_ place: Int) {
        let count = kept[place].precise.count
        bytes -= count
        preciseBytes -= count
        kept[place].precise = []
        firstPrecise = max(firstPrecise, place + 1)
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
        var sample = SampleCoding.decode(entry.encoded, into: entry.frame)
        if let decoded = sample {
            sample?.preciseTimes = SampleCoding.decodePrecise(entry.precise, of: decoded) ?? [:]
        }
        return sample
    }

    package var latest: MonitorSample? { count == 0 ? nil : self[numbers.upperBound - 1] }
}
