/// Up to four debug registers, without an allocation: they are given to KVM before every change of step and run.
struct ArmedBreakpoints: Sendable, Hashable {
    static let capacity = 4
    private(set) var addresses = SIMD4<UInt64>.zero
    private(set) var count = 0
    /// R/W and LEN of each, as DR7 has them from bit 16 on: 0 for execution.
    private var types = SIMD4<UInt8>.zero

    /// False if there is no room.
    @discardableResult
    mutating func insert(_ linear: UInt64) -> Bool {
        if contains(linear) { return true }
        guard count < Self.capacity else { return false }
        addresses[count] = linear
        types[count] = 0
        count += 1
        return true
    }

    /// A data breakpoint. Source: SDM volume 3B, 17.2.4.
    ///
    /// - Parameters:
    ///   - length: 1, 2, 4 or 8; `linear` is a multiple of it.
    ///   - writesOnly: otherwise reads count, too.
    /// - Returns: the register, nil if there is no room.
    mutating func insert(data linear: UInt64, length: Int, writesOnly: Bool) -> Int? {
        guard count < Self.capacity else { return nil }
        let size: UInt8 =
            switch length {
            case 1: 0
            case 2: 1
            case 8: 2
            default: 3
            }
        addresses[count] = linear
        types[count] = size << 2 | (writesOnly ? 1 : 3)
        count += 1
        return count - 1
    }

    /// An execution breakpoint is there.
    func contains(_ linear: UInt64) -> Bool {
        for i in 0..<count where addresses[i] == linear && types[i] == 0 { return true }
        return false
    }

    /// The registers that hold data breakpoints, a bit each.
    var dataMask: UInt8 {
        var mask: UInt8 = 0
        for i in 0..<count where types[i] != 0 { mask |= 1 << UInt8(i) }
        return mask
    }

    /// DR7 with a global breakpoint for each address but `excluded`. Source: SDM volume 3B, 17.2.4.
    func dr7(except excluded: UInt64?) -> UInt64 {
        var dr7: UInt64 = 0x400
        for i in 0..<count where addresses[i] != excluded || types[i] != 0 {
            dr7 |= 2 << UInt64(i * 2) | UInt64(types[i]) << UInt64(16 + i * 4)
        }
        return dr7
    }
}
