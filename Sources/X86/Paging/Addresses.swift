/// A segment selector and an offset, as a far pointer has them.
public struct SegmentedAddress: Sendable, Hashable, CustomStringConvertible {
    /// The segment's selector.
    public var selector: UInt16
    /// The offset in the segment.
    public var offset: UInt64

    /// - Parameters:
    ///   - selector: the segment's.
    ///   - offset: in the segment.
    public init(selector: UInt16, offset: UInt64) {
        self.selector = selector
        self.offset = offset
    }

    /// The linear address in real and virtual-8086 mode, where nothing else loaded the segment's base:
    /// `selector * 16 + offset`, not wrapped at 1 MiB.
    public var realModeLinear: UInt64 { (UInt64(selector) << 4) &+ offset }

    /// The two in hexadecimal, each with four digits at least: `f000:fff0`.
    public var description: String { text(digits: 4) }

    /// - Parameter digits: of the offset, at least; see ``CPUMode/offsetDigits``.
    public func text(digits: Int) -> String {
        hexDigits(UInt64(selector), digits: 4) + ":" + hexDigits(offset, digits: digits)
    }
}

/// True if all bits of `address` from `bits` - 1 up are equal. Source: SDM volume 1, 3.3.7.1.
/// - Parameters:
///   - address: a linear address.
///   - bits: the width of linear addresses: 48, or 57 with 5-level paging.
public func isCanonical(_ address: UInt64, bits: Int) -> Bool {
    guard (1..<64).contains(bits) else { return bits == 64 }
    let signed = Int64(bitPattern: address) >> Int64(bits - 1)
    return signed == 0 || signed == -1
}

extension SpecialRegisters {
    /// The width of a canonical linear address in IA-32e mode: 57 with CR4.LA57, otherwise 48.
    public var canonicalBits: Int { cr4.contains(.la57) ? 57 : 48 }

    /// The linear address of `offset` in a segment, as the processor makes it: the cached base is added, cut to
    /// 32 bits outside 64-bit mode; in 64-bit mode only FS and GS have a base.
    public func linear(_ segment: SegmentName, _ offset: UInt64, mode: CPUMode) -> UInt64 {
        if mode == .long64 {
            return segment == .fs || segment == .gs ? self[segment].base &+ offset : offset
        }
        return (self[segment].base &+ offset) & 0xFFFF_FFFF
    }

    /// What CS or SS adds to what IP, SP or BP holds to make the linear address that the processor uses: of a segment of
    /// 16 bits it takes the low half of the register alone. Source: SDM volume 3A, 3.4.5, flag D/B.
    public func base(of segment: SegmentName, at offset: UInt64, mode: CPUMode) -> UInt64 {
        guard mode != .long64 else { return 0 }
        let isWide = self[segment].attributes.isBig
        return self[segment].base &+ (isWide ? offset & 0xFFFF_FFFF : offset & 0xFFFF) &- offset
    }
}

extension CPUMode {
    /// Hexadecimal digits of an offset in a segment: 4, 8 or 16.
    public var offsetDigits: Int { codeWidth / 4 }
}
