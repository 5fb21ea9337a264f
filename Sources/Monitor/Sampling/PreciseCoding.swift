package import PreciseTimes

/// The precise times of a sample in few bytes, beside what ``SampleCoding`` has of it: they are given up sooner.
extension SampleCoding {
    /// - Returns: nothing where the sample has none.
    package static func encodePrecise(_ sample: MonitorSample) -> [UInt8] {
        guard !sample.preciseTimes.isEmpty else { return [] }
        var bytes = ByteWriter()
        // In the order of the cells that can have some: no key is written twice.
        for cell in sample.cells where cell.key.kind?.isTimed == true {
            let bins = sample.preciseTimes[cell.key]?.bins ?? []
            bytes.put(bins.count)
            var time: UInt64 = 0
            for bin in bins {
                bytes.put(bin.time &- time)
                bytes.put(UInt64(bin.count))
                time = bin.time
            }
        }
        return bytes.bytes
    }

    /// - Parameter sample: with its cells.
    /// - Returns: nil for bytes that were not encoded from such a sample.
    package static func decodePrecise(_ encoded: [UInt8], of sample: MonitorSample)
        -> [CounterKey: TimeBins]?
    {
        var times: [CounterKey: TimeBins] = [:]
        guard !encoded.isEmpty else { return times }
        var bytes = ByteReader(encoded)
        for cell in sample.cells where cell.key.kind?.isTimed == true {
            guard let count = bytes.count(atLeast: 2) else { return nil }
            guard count > 0 else { continue }
            var bins: [TimeBins.Bin] = []
            bins.reserveCapacity(count)
            var time: UInt64 = 0
            for _ in 0..<count {
                guard let step = bytes.next(), let number = bytes.next().flatMap(UInt32.init(exactly:)) else {
                    return nil
                }
                time &+= step
                bins.append(TimeBins.Bin(time: time, count: number))
            }
            times[cell.key] = TimeBins(bins)
        }
        return bytes.isAtEnd ? times : nil
    }
}
