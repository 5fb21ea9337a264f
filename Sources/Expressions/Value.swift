public import X86

/// What an expression comes to.
public struct Value: Sendable, Hashable {
    /// The value in the low ``width`` bits, extended to 64: with its sign if ``isSigned``.
    public var bits: UInt64
    /// In bits: 8, 16, 32 or 64.
    public var width: Int
    public var isSigned: Bool
    /// Where the expression was an address in a form of its own (`SEG:OFF`, `p:`, `v:`), that form.
    public var address: Address?
    /// Of the instruction pointer, the stack pointer and the frame pointer, and of what lies a number away from one:
    /// what its segment adds where it is used as an address.
    public var base: UInt64?
    /// What `*` reads through it, of a pointer.
    package var pointee: ValueType?
    /// A number without a type: it takes the width of what it meets.
    var isBare = false

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

    /// A number as it was written: signed, if it fits.
    package init(number: UInt64) {
        self.init(bits: number, isSigned: number <= UInt64(Int64.max))
        isBare = true
    }

    /// C's int, which comparisons give.
    package init(truth: Bool) { self.init(bits: truth ? 1 : 0, width: 32, isSigned: true) }

    /// The address that it is: in its own form, or linear.
    public var place: Address { address ?? .linear(bits &+ (base ?? 0)) }

    public var signed: Int64 { Int64(bitPattern: bits) }
    public var isZero: Bool { bits == 0 }
    /// ``bits`` cut to ``width``, as hexadecimal shows it.
    public var cut: UInt64 { width == 64 ? bits : bits & ((1 << UInt64(width)) - 1) }

    /// The same value in another type.
    func converted(width: Int, isSigned: Bool) -> Value {
        Value(bits: bits, width: width, isSigned: isSigned)
    }

    /// The narrowest of 8, 16, 32 and 64 that holds `bits` bits.
    package static func width(holding bits: Int) -> Int {
        bits <= 8 ? 8 : bits <= 16 ? 16 : bits <= 32 ? 32 : 64
    }
}
