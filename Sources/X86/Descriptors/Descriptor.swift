/// A descriptor of a GDT, an LDT or an IDT. Source: SDM volume 3A, 3.4.5, 5.8.3, 6.11, 6.14.1, 7.2 and 7.3.
public enum Descriptor: Sendable, Hashable {
    /// All eight (or sixteen) bytes are zero.
    case null
    /// A code or data segment.
    case segment(Contents)
    /// A TSS or an LDT.
    case system(Contents, inLongMode: Bool)
    /// A call, interrupt, trap or task gate.
    case gate(Gate)
    /// A type that the mode does not have; the raw bytes.
    case reserved(type: UInt8, low: UInt64, high: UInt64)

    /// Base, limit and attributes, as a load would put them into the segment's cache.
    public struct Contents: Sendable, Hashable {
        /// The linear address of offset 0.
        public var base: UInt64
        /// In bytes.
        public var limit: UInt32
        /// Type, privilege, and the flags.
        public var attributes: SegmentAttributes
    }

    /// A call, interrupt, trap or task gate.
    public struct Gate: Sendable, Hashable {
        /// What a gate does.
        public enum Kind: String, Sendable, Hashable, CaseIterable {
            /// Call gates change privilege by CALL and JMP; interrupt gates clear RFLAGS.IF, trap gates do
            /// not; task gates switch tasks.
            case call, interrupt, trap, task
        }
        /// What it does.
        public var kind: Kind
        /// Of the offset: 16, 32 or 64 bits. 0 for a task gate, which has none.
        public var width: Int
        /// The entry point; for a task gate the TSS's selector and offset 0.
        public var target: SegmentedAddress
        /// DPL: the privilege that INT n, CALL and JMP need, 0 to 3.
        public var privilege: UInt8
        /// P.
        public var isPresent: Bool
        /// 64-bit interrupt and trap gates: 1 to 7 for a stack of the TSS's table, 0 for none.
        public var interruptStack: UInt8
        /// 16 and 32-bit call gates: stack words that are copied, 0 to 31.
        public var parameterCount: UInt8
    }

    /// Decodes eight bytes, or sixteen.
    /// - Parameters:
    ///   - low: the first eight bytes, little-endian.
    ///   - high: the next eight; only looked at for what ``size(low:inLongMode:)`` says has sixteen.
    ///   - inLongMode: IA-32e mode (EFER.LMA).
    public init(low: UInt64, high: UInt64 = 0, inLongMode: Bool) {
        let segment = Segment(loading: low, high: high, selector: 0, inLongMode: inLongMode)
        let attributes = segment.attributes
        let contents = Contents(base: segment.base, limit: segment.limit, attributes: attributes)
        let isWide = Self.size(low: low, inLongMode: inLongMode) == 16
        if low == 0, !isWide || high == 0 {
            self = .null
        } else if attributes.isCodeOrData {
            self = .segment(contents)
        } else if let gate = Gate(low: low, high: high, attributes: attributes, inLongMode: inLongMode) {
            self = .gate(gate)
        } else if attributes.isTaskState && !(inLongMode && !attributes.isWideSystem)
            || attributes.isLocalTable
        {
            self = .system(contents, inLongMode: inLongMode)
        } else {
            self = .reserved(type: attributes.type, low: low, high: isWide ? high : 0)
        }
    }

    /// How many bytes the descriptor takes that begins with `low`: 16 for a system descriptor of IA-32e mode.
    public static func size(low: UInt64, inLongMode: Bool) -> Int {
        // A null entry takes eight, whatever the type 0 would.
        inLongMode && low >> 44 & 1 == 0 && low != 0 ? 16 : 8
    }
}

extension Descriptor.Gate {
    fileprivate init?(low: UInt64, high: UInt64, attributes: SegmentAttributes, inLongMode: Bool) {
        let kind: Kind
        switch attributes.type {
        case 4 where !inLongMode, 12: kind = .call
        case 5 where !inLongMode: kind = .task
        case 6 where !inLongMode, 14: kind = .interrupt
        case 7 where !inLongMode, 15: kind = .trap
        default: return nil
        }
        let width = kind == .task ? 0 : inLongMode ? 64 : attributes.isWideSystem ? 32 : 16
        var offset: UInt64 = 0
        if width >= 16 { offset = low & 0xFFFF }
        if width >= 32 { offset |= low >> 32 & 0xFFFF_0000 }
        if width == 64 { offset |= high << 32 }
        self.init(
            kind: kind, width: width,
            target: SegmentedAddress(selector: UInt16(truncatingIfNeeded: low >> 16), offset: offset),
            privilege: attributes.privilege, isPresent: attributes.isPresent,
            interruptStack: width == 64 && kind != .call ? UInt8(truncatingIfNeeded: low >> 32 & 7) : 0,
            parameterCount: kind == .call && width < 64 ? UInt8(truncatingIfNeeded: low >> 32 & 0x1F) : 0)
    }

    /// An entry of the real-mode interrupt vector table: offset, then segment. Source: SDM volume 3A, 21.1.4.
    public init(realModeVector entry: UInt32) {
        self.init(
            kind: .interrupt, width: 16,
            target: SegmentedAddress(
                selector: UInt16(truncatingIfNeeded: entry >> 16), offset: UInt64(entry & 0xFFFF)),
            privilege: 0, isPresent: true, interruptStack: 0, parameterCount: 0)
    }
}

extension Descriptor: CustomStringConvertible {
    /// What it is: one line for people.
    public var description: String {
        switch self {
        case .null: "null"
        case .segment(let contents): Self.text(contents, inLongMode: false)
        case .system(let contents, let inLongMode): Self.text(contents, inLongMode: inLongMode)
        case .gate(let gate): gate.description
        case .reserved(let type, let low, let high):
            "reserved system type \(type): \(hexadecimal(low, digits: 16))"
                + (high == 0 ? "" : " \(hexadecimal(high, digits: 16))")
        }
    }

    private static func text(_ contents: Contents, inLongMode: Bool) -> String {
        "base \(hexadecimal(contents.base, digits: 8)) limit \(hexadecimal(UInt64(contents.limit))) "
            + contents.attributes.summary(inLongMode: inLongMode)
    }
}

extension Descriptor.Gate: CustomStringConvertible {
    /// What it is: one line for people.
    public var description: String {
        var parts = [
            kind == .task
                ? "task gate to \(hexadecimal(UInt64(target.selector), digits: 4))"
                : "\(width)-bit \(kind.rawValue) gate to \(target.text(digits: width / 4))",
            "DPL \(privilege)",
        ]
        if !isPresent { parts.append("not present") }
        if interruptStack != 0 { parts.append("IST \(interruptStack)") }
        if parameterCount != 0 { parts.append("\(parameterCount) parameters") }
        return parts.joined(separator: ", ")
    }
}
