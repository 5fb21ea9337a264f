/// What an expression comes to.
public struct Value: Sendable, Hashable {
    /// The value in the low ``width`` bits, extended to 64: with its sign if ``isSigned``.
    public var bits: UInt64
    /// In bits: 8, 16, 32 or 64.
    public var width: Int
    public var isSigned: Bool
    /// Where the expression was an address in a form of its own (`SEG:OFF`, `p:`, `v:`), that form.
    public var address: Address?

    /// Cuts `bits` to `width`, and extends.
    public init(bits: UInt64, width: Int = 64, isSigned: Bool = false, address: Address? = nil) {
        let shift = UInt64(64 - Self.width(holding: width))
        self.width = Self.width(holding: width)
        self.isSigned = isSigned
        self.address = address
        self.bits =
            isSigned
            ? UInt64(bitPattern: Int64(bitPattern: bits << shift) >> Int64(shift)) : (bits << shift) >> shift
    }

    public var signed: Int64 { Int64(bitPattern: bits) }
    public var isZero: Bool { bits == 0 }

    /// The narrowest of 8, 16, 32 and 64 that holds `bits` bits.
    static func width(holding bits: Int) -> Int {
        bits <= 8 ? 8 : bits <= 16 ? 16 : bits <= 32 ? 32 : 64
    }
}
