/// Up to four debug registers, without an allocation: they are given to KVM before every change of step and run.
struct ArmedBreakpoints: Sendable, Hashable {
    static let capacity = 4
    private(set) var addresses = SIMD4<UInt64>.zero
    /// R/W and LEN of each, as DR7 has them from bit 16 on: 0 for execution.
    private var types = SIMD4<UInt8>.zero
    /// The registers in use, a bit each.
    private var used: UInt8 = 0

    var count: Int { used.nonzeroBitCount }

    /// The first one that is free.
    private var free: Int? {
        let first = (~used).trailingZeroBitCount
        return first < Self.capacity ? first : nil
    }

    /// False if there is no room.
    @discardableResult
    mutating func insert(_ linear: UInt64) -> Bool {
        if contains(linear) { return true }
        guard let place = free else { return false }
        addresses[place] = linear
        types[place] = 0
        used |= 1 << UInt8(place)
        return true
    }

    /// A data breakpoint. Source: SDM volume 3B, 17.2.4.
    ///
    /// - Parameters:
    ///   - length: 1, 2, 4 or 8; `linear` is a multiple of it.
    ///   - writesOnly: otherwise reads count, too.
    /// - Returns: the register, nil if there is no room.
    mutating func insert(data linear: UInt64, length: Int, writesOnly: Bool) -> Int? {
        guard let place = free else { return nil }
        let size: UInt8 =
            switch length {
            case 1: 0
            case 2: 1
            case 8: 2
            default: 3
            }
        addresses[place] = linear
        types[place] = size << 2 | (writesOnly ? 1 : 3)
        used |= 1 << UInt8(place)
        return place
    }

    private func isUsed(_ place: Int) -> Bool { used >> UInt8(place) & 1 != 0 }

    /// The same without execution breakpoints; the others stay in their registers.
    var dataOnly: ArmedBreakpoints {
        var all = self
        all.used = dataMask
        for i in 0..<Self.capacity where !all.isUsed(i) { all.addresses[i] = 0 }
        return all
    }

    /// An execution breakpoint is there.
    func contains(_ linear: UInt64) -> Bool {
        for i in 0..<Self.capacity where isUsed(i) && addresses[i] == linear && types[i] == 0 { return true }
        return false
    }

    /// The registers that hold data breakpoints, a bit each.
    var dataMask: UInt8 {
        var mask: UInt8 = 0
        for i in 0..<Self.capacity where isUsed(i) && types[i] != 0 { mask |= 1 << UInt8(i) }
        return mask
    }

    /// One of these registers holds a data breakpoint that begins there.
    func hasData(in range: Range<UInt64>, _ matched: UInt8) -> Bool {
        (0..<Self.capacity).contains { place in
            (matched & dataMask) >> UInt8(place) & 1 != 0 && range.contains(addresses[place])
        }
    }

    /// Some register holds an execution breakpoint.
    var hasExecution: Bool { used != dataMask }

    /// DR7 with a global breakpoint for each address but `excluded`. Source: SDM volume 3B, 17.2.4.
    func dr7(except excluded: UInt64?) -> UInt64 {
        var dr7: UInt64 = 0x400
        for i in 0..<Self.capacity where isUsed(i) && (addresses[i] != excluded || types[i] != 0) {
            dr7 |= 2 << UInt64(i * 2) | UInt64(types[i]) << UInt64(16 + i * 4)
        }
        return dr7
    }
}
