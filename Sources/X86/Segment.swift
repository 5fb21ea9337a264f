/// The attributes of a segment as the processor caches them.
///
/// Laid out as VMX "access rights": type in bits 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15 and
/// "unusable" 16. Source: SDM volume 3C, 25.4.1, table 25-2.
public struct SegmentAttributes: RawRepresentable, Sendable, Hashable {
    /// The access rights, 17 bits.
    public var rawValue: UInt32
    /// - Parameter rawValue: the access rights, 17 bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The descriptor's type, 0 to 15; what it means depends on ``isCodeOrData``.
    public var type: UInt8 {
        get { UInt8(truncatingIfNeeded: rawValue & 0xF) }
        set { rawValue = rawValue & ~0xF | UInt32(newValue & 0xF) }
    }
    /// S: set for a code or data segment, clear for a system segment.
    public var isCodeOrData: Bool {
        get { self[4] }
        set { self[4] = newValue }
    }
    /// DPL, 0 to 3.
    public var privilege: UInt8 {
        get { UInt8(truncatingIfNeeded: rawValue >> 5 & 3) }
        set { rawValue = rawValue & ~(3 << 5) | UInt32(newValue & 3) << 5 }
    }
    /// P.
    public var isPresent: Bool {
        get { self[7] }
        set { self[7] = newValue }
    }
    /// AVL, free for software.
    public var isAvailable: Bool {
        get { self[12] }
        set { self[12] = newValue }
    }
    /// L: 64-bit code.
    public var isLong: Bool {
        get { self[13] }
        set { self[13] = newValue }
    }
    /// D/B: 32-bit operands and addresses, or a 32-bit stack.
    public var isBig: Bool {
        get { self[14] }
        set { self[14] = newValue }
    }
    /// G: the limit was given in 4 KiB units. The cached limit is always in bytes.
    public var isPageGranular: Bool {
        get { self[15] }
        set { self[15] = newValue }
    }
    /// The segment was loaded with a null selector, or never.
    public var isUnusable: Bool {
        get { self[16] }
        set { self[16] = newValue }
    }

    private subscript(bit: UInt32) -> Bool {
        get { rawValue >> bit & 1 == 1 }
        set { rawValue = newValue ? rawValue | 1 << bit : rawValue & ~(1 << bit) }
    }
}

/// A segment register with its hidden part, the segment cache. Source: SDM volume 3A, 3.4.3.
///
/// The base is what the processor adds to an offset. In unreal mode and at reset it is *not* `selector * 16`.
public struct Segment: Sendable, Hashable {
    /// The linear address of offset 0.
    public var base: UInt64
    /// The last valid offset, in bytes.
    public var limit: UInt32
    /// The visible part.
    public var selector: UInt16
    /// Type, privilege, and the flags.
    public var attributes: SegmentAttributes

    /// - Parameters:
    ///   - base: the linear address of offset 0.
    ///   - limit: the last valid offset, in bytes.
    ///   - selector: the visible part.
    ///   - attributes: type, privilege, and the flags.
    public init(
        base: UInt64 = 0, limit: UInt32 = 0, selector: UInt16 = 0,
        attributes: SegmentAttributes = SegmentAttributes(rawValue: 0)
    ) {
        self.base = base
        self.limit = limit
        self.selector = selector
        self.attributes = attributes
    }

    /// A segment as a real-mode load of `selector` leaves it: base `selector * 16`, limit 0xFFFF.
    /// Data is read/write, accessed (type 3); code is execute/read, accessed (type 11).
    public static func real(_ selector: UInt16, code: Bool = false) -> Segment {
        Segment(
            base: UInt64(selector) << 4, limit: 0xFFFF, selector: selector,
            attributes: SegmentAttributes(rawValue: code ? 0x9B : 0x93))
    }
}

/// GDTR or IDTR: a linear base and the last valid offset, in bytes.
public struct DescriptorTable: Sendable, Hashable {
    /// The linear address of the first descriptor.
    public var base: UInt64
    /// The last valid offset, in bytes: 8 times the number of descriptors, less 1.
    public var limit: UInt16
    /// - Parameters:
    ///   - base: the linear address of the first descriptor.
    ///   - limit: the last valid offset, in bytes.
    public init(base: UInt64 = 0, limit: UInt16 = 0) {
        self.base = base
        self.limit = limit
    }
}

/// The names of the registers that hold a ``Segment``.
public enum SegmentName: String, Sendable, Hashable, CaseIterable {
    /// The six segment registers, the task register and the LDT register.
    case cs, ds, es, fs, gs, ss, tr, ldt
}
