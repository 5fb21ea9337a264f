/// A sample in few bytes: whole numbers in groups of seven bits, counters as differences, only the buckets that hold
/// something. What the guests are is kept beside it, as it seldom changes.
package enum SampleCoding {
    package static func encode(_ sample: MonitorSample) -> [UInt8] {
        var bytes = ByteWriter()
        bytes.put(sample.cells.count)
        var thread: Int64 = 0
        for cell in sample.cells {
            bytes.put(signed: Int64(cell.key.thread) - thread)
            thread = Int64(cell.key.thread)
            bytes.put(UInt64(cell.key.tag))
            bytes.put(cell.key.code)
            bytes.put(cell.counter.count)
            guard cell.key.kind?.isTimed == true else { continue }
            bytes.put(cell.counter.time)
            bytes.put(cell.counter.maximum)
            bytes.put(cell.counter.histogram.filledCount)
            cell.counter.histogram.forEachFilled { bucket, count in
                bytes.put(bucket)
                bytes.put(count)
            }
        }
        bytes.put(sample.shares.count)
        for (thread, share) in sample.shares.sorted(by: { $0.key < $1.key }) {
            bytes.put(signed: Int64(thread))
            for value in [share.guest, share.kernel, share.user] { bytes.put(tenThousandths(value)) }
            // 0 is not known.
            for value in [share.ready, share.asleep] { bytes.put(value.map { tenThousandths($0) + 1 } ?? 0) }
            bytes.put(signed: Int64(share.hostCPU))
            bytes.put(share.moves)
        }
        bytes.put(sample.lastExits.count)
        for (thread, code) in sample.lastExits.sorted(by: { $0.key < $1.key }) {
            bytes.put(signed: Int64(thread))
            bytes.put(code)
        }
        for count in [
            sample.losses.records, sample.losses.unkept, sample.losses.unpaired, sample.losses.restarted,
            UInt64(sample.hiddenProcesses),
        ] { bytes.put(count) }
        return bytes.bytes
    }

    private static func tenThousandths(_ share: Double) -> UInt64 {
        share.isFinite ? UInt64((max(0, min(share, 100)) * 10_000).rounded()) : 0
    }

    /// - Parameter sample: with all that is not in the bytes.
    /// - Returns: nil for bytes that no sample was encoded as.
    package static func decode(_ encoded: [UInt8], into sample: MonitorSample) -> MonitorSample? {
        var sample = sample
        var bytes = ByteReader(encoded)
        guard let cells = bytes.count(atLeast: 4) else { return nil }
        sample.cells.removeAll()
        sample.cells.reserveCapacity(cells)
        var thread: Int64 = 0
        for _ in 0..<cells {
            guard let step = bytes.signed(), let tag = bytes.next(), let code = bytes.next(),
                let count = bytes.next(), let tag = UInt32(exactly: tag)
            else { return nil }
            thread &+= step
            guard let number = Int32(exactly: thread) else { return nil }
            let key = CounterKey(thread: number, tag: tag, code: code)
            var counter = Counter(count: count)
            if key.kind?.isTimed == true {
                guard let time = bytes.next(), let maximum = bytes.next(),
                    let filled = bytes.count(atLeast: 2)
                else { return nil }
                counter.time = time
                counter.maximum = maximum
                for _ in 0..<filled {
                    guard let bucket = bytes.next(), let count = bytes.next(),
                        bucket < UInt64(Histogram.bucketCount)
                    else { return nil }
                    counter.histogram[Int(bucket)] = count
                }
            }
            sample.cells.append(MonitorSample.Cell(key: key, counter: counter))
        }
        guard decodeShares(&bytes, &sample), let exits = bytes.count(atLeast: 2) else { return nil }
        sample.lastExits.removeAll()
        for _ in 0..<exits {
            guard let thread = bytes.signed().flatMap(Int32.init(exactly:)), let code = bytes.next() else {
                return nil
            }
            sample.lastExits[thread] = code
        }
        guard let records = bytes.next(), let unkept = bytes.next(), let unpaired = bytes.next(),
            let restarted = bytes.next(), let hidden = bytes.next().flatMap(Int.init(exactly:)), bytes.isAtEnd
        else { return nil }
        sample.losses.records = records
        sample.losses.unkept = unkept
        sample.losses.unpaired = unpaired
        sample.losses.restarted = restarted
        sample.hiddenProcesses = hidden
        return sample
    }

    private static func decodeShares(_ bytes: inout ByteReader, _ sample: inout MonitorSample) -> Bool {
        guard let count = bytes.count(atLeast: 8) else { return false }
        sample.shares.removeAll()
        for _ in 0..<count {
            guard let thread = bytes.signed().flatMap(Int32.init(exactly:)), let guest = bytes.next(),
                let kernel = bytes.next(), let user = bytes.next(), let ready = bytes.next(),
                let asleep = bytes.next(), let cpu = bytes.signed().flatMap(Int.init(exactly:)),
                let moves = bytes.next()
            else { return false }
            func share(_ value: UInt64) -> Double { Double(value) / 10_000 }
            sample.shares[thread] = ThreadShare(
                guest: share(guest), kernel: share(kernel), user: share(user),
                ready: ready == 0 ? nil : share(ready - 1), asleep: asleep == 0 ? nil : share(asleep - 1),
                hostCPU: cpu, moves: moves)
        }
        return true
    }
}

/// Whole numbers as LEB128: seven bits a byte, the lowest first.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    mutating func put(bytes more: some Collection<UInt8>) { bytes.append(contentsOf: more) }

    mutating func put(_ value: Int) { put(UInt64(max(0, value))) }

    /// Small numbers of either sign are short: zigzag.
    mutating func put(signed value: Int64) { put(UInt64(bitPattern: value << 1 ^ value >> 63)) }
}

extension RandomAccessCollection<UInt8> where Index == Int {
    /// A number as ``ByteWriter`` writes it, seven bits a byte, the low ones first.
    ///
    /// - Parameters:
    ///   - at: where it goes on; after it then.
    ///   - low: what was read of it, `shift` bits.
    /// - Returns: nil past the end and for a number beyond 64 bits.
    @inline(__always)
    func number(_ at: inout Int, _ low: UInt64 = 0, shift: UInt64 = 0) -> UInt64? {
        var (value, shift) = (low, shift)
        while at < endIndex {
            let byte = self[at]
            at += 1
            // Of the tenth byte one bit is left.
            guard shift < 63 || byte <= 1 else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}

/// Reads what ``ByteWriter`` wrote. The bytes are not trusted: nil past the end and for a number beyond 64 bits.
struct ByteReader {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    mutating func next() -> UInt64? { bytes.number(&at) }

    /// The next bytes as they are; nil where there are fewer.
    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= bytes.count - at else { return nil }
        defer { at += count }
        return bytes[at..<at + count]
    }

    mutating func signed() -> Int64? {
        next().map { Int64(bitPattern: $0 >> 1) ^ -Int64(bitPattern: $0 & 1) }
    }

    /// How many entries follow, each of so many bytes at least: one that cannot be is refused before memory is spent on it.
    mutating func count(atLeast size: Int) -> Int? {
        guard let count = next(), count <= UInt64(bytes.count - at) / UInt64(size) else { return nil }
        return Int(count)
    }
}
