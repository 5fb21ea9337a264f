public import X86

/// Guest memory as it was read: the bytes, and which of them could not be.
public struct MemoryImage: Sendable, Hashable {
    /// Bytes that could not be read.
    public struct Gap: Sendable, Hashable {
        /// Offsets into ``MemoryImage/bytes``; what stands there means nothing.
        public var range: Range<Int>
        /// Why, for people.
        public var reason: String
        public init(range: Range<Int>, reason: String) {
            self.range = range
            self.reason = reason
        }
    }

    /// As asked for.
    public var address: Address
    /// The linear address of the first byte, or the physical one if ``address`` is physical.
    public var start: UInt64
    public var bytes: [UInt8]
    /// In ascending order, apart from each other.
    public var gaps: [Gap]

    public init(address: Address, start: UInt64, bytes: [UInt8], gaps: [Gap] = []) {
        self.address = address
        self.start = start
        self.bytes = bytes
        self.gaps = gaps
    }

    /// All bytes could be read.
    public var isComplete: Bool { gaps.isEmpty }

    /// The byte at `offset`; nil where it could not be read, or beyond the end.
    public subscript(offset: Int) -> UInt8? {
        guard bytes.indices.contains(offset), !isGap(offset..<offset + 1) else { return nil }
        return bytes[offset]
    }

    /// The little-endian value of `width` bytes, 1 to 8; nil where any of them is missing.
    public func value(at offset: Int, width: Int) -> UInt64? {
        guard (1...8).contains(width), offset >= 0, offset <= bytes.count - width,
            !isGap(offset..<offset + width)
        else { return nil }
        return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
    }

    /// The bytes up to the first that is missing.
    public var leading: ArraySlice<UInt8> { bytes[..<(gaps.first?.range.lowerBound ?? bytes.count)] }

    /// The offsets whose byte differs from `earlier`'s at the same address. A byte that could be read only once
    /// differs; one that `earlier` does not cover does not.
    public func changed(since earlier: MemoryImage) -> Set<Int> {
        var changed: Set<Int> = []
        for offset in bytes.indices {
            let other = Int(truncatingIfNeeded: start &- earlier.start) &+ offset
            guard earlier.bytes.indices.contains(other) else { continue }
            if self[offset] != earlier[other] { changed.insert(offset) }
        }
        return changed
    }

    /// A hole may be a gap a page, and is asked for each of its bytes.
    private func isGap(_ range: Range<Int>) -> Bool {
        var (low, high) = (0, gaps.count)
        while low < high {
            let middle = low + (high - low) / 2
            if gaps[middle].range.upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < gaps.count && gaps[low].range.overlaps(range)
    }
}
