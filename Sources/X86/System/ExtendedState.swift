/// XCR0, the state components that XSAVE and the registers after them may use. Source: SDM volume 1, 13.1.
public struct XCR0: FlagFields, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Its components, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("x87", 0, "x87"), FlagField("sse", 1, "XMM and MXCSR"),
        FlagField("avx", 2, "upper halves of YMM"),
        FlagField("bndregs", 3, "MPX bounds"), FlagField("bndcsr", 4, "MPX configuration"),
        FlagField("opmask", 5, "AVX-512 masks"), FlagField("zmm_hi256", 6, "upper halves of ZMM0-15"),
        FlagField("hi16_zmm", 7, "ZMM16-31"), FlagField("pt", 8, "processor trace"),
        FlagField("pkru", 9, "protection keys"), FlagField("pasid", 10, "PASID"),
        FlagField("cet_u", 11, "CET, user"), FlagField("cet_s", 12, "CET, supervisor"),
        FlagField("hdc", 13, "duty cycling"), FlagField("uintr", 14, "user interrupts"),
        FlagField("lbr", 15, "branch records"), FlagField("hwp", 16, "P-states"),
        FlagField("tilecfg", 17, "AMX configuration"), FlagField("tiledata", 18, "AMX tiles"),
        FlagField("apx", 19, "R16 to R31"),
    ]
}

/// The standard form of an XSAVE area, read only as far as it goes. Source: SDM volume 1, 13.4.
public struct ExtendedState: Sendable, Hashable {
    /// One state component.
    public struct Component: Sendable, Hashable {
        /// Its bit in XCR0.
        public var number: Int
        /// The manual's name, in lower case.
        public var name: String
        /// What it is, in a few words.
        public var meaning: String
        /// Where it is in the area; nil where nothing says so.
        public var range: Range<Int>?
        /// Its bit in XSTATE_BV: without it the component is as at reset, whatever its bytes are.
        public var isInUse: Bool
    }

    /// The area.
    public let bytes: [UInt8]
    /// XSTATE_BV.
    public let inUse: XCR0
    /// XCOMP_BV; bit 63 for the compacted form, which KVM never gives.
    public let compaction: UInt64
    /// Those that the processor has or that are in use.
    public let components: [Component]

    /// - Parameters:
    ///   - bytes: the area.
    ///   - enabled: XCR0.
    ///   - layout: where a component from 2 up is: CPUID leaf 0xD, EBX and EAX of its sub-leaf.
    public init(bytes: [UInt8], enabled: XCR0, layout: (_ component: Int) -> (offset: Int, size: Int)?) {
        self.bytes = bytes
        inUse = XCR0(rawValue: Self.word(bytes, 512, width: 8) ?? 0)
        compaction = Self.word(bytes, 520, width: 8) ?? 0
        let shown = enabled.rawValue | inUse.rawValue
        let bits = inUse.rawValue
        components = (0..<63).compactMap { number in
            guard shown >> UInt64(number) & 1 == 1 else { return nil }
            let field = XCR0.fields.first { $0.shift == number }
            var range: Range<Int>?
            switch number {
            case 0: range = 0..<160
            case 1: range = 160..<416
            default:
                if let place = layout(number), place.offset >= 0, place.size >= 0,
                    place.offset <= bytes.count, place.size <= bytes.count - place.offset
                {
                    range = place.offset..<place.offset + place.size
                }
            }
            return Component(
                number: number, name: field?.name ?? "bit \(number)", meaning: field?.meaning ?? "unknown",
                range: range, isInUse: bits >> UInt64(number) & 1 == 1)
        }
    }

    /// YMM`number` with the highest byte last; zeros for what is not in use. Nil where the area has no AVX state.
    public func ymm(_ number: Int) -> [UInt8]? {
        guard (0..<16).contains(number), let upper = components.first(where: { $0.number == 2 }),
            let range = upper.range, range.count >= (number + 1) * 16, bytes.count >= 416
        else { return nil }
        let low = inUse.rawValue & 2 != 0 ? Array(bytes[(160 + number * 16)..<(176 + number * 16)]) : []
        let place = range.lowerBound + number * 16
        let high = upper.isInUse ? Array(bytes[place..<place + 16]) : []
        let none = [UInt8](repeating: 0, count: 16)
        return (low.isEmpty ? none : low) + (high.isEmpty ? none : high)
    }

    /// PKRU; nil where the area has none.
    public var pkru: UInt32? {
        guard let component = components.first(where: { $0.number == 9 }), let range = component.range else {
            return nil
        }
        guard component.isInUse else { return 0 }
        return Self.word(bytes, range.lowerBound, width: 4).map { UInt32(truncatingIfNeeded: $0) }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int, width: Int) -> UInt64? {
        guard offset >= 0, offset <= bytes.count - width else { return nil }
        return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
    }
}
