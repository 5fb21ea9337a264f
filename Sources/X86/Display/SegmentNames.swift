extension SegmentAttributes {
    /// The bits in use: 17, with "unusable" as the last.
    public static let width = 17

    /// A code segment.
    public var isCode: Bool { isCodeOrData && type & 8 != 0 }
    /// A data segment that can be written.
    public var isWritableData: Bool { isCodeOrData && type & 8 == 0 && type & 2 != 0 }
    /// Data, or code that can be read.
    public var isReadable: Bool { isCodeOrData && (type & 8 == 0 || type & 2 != 0) }
    /// A TSS, 16 or 32/64 bits, free or busy.
    public var isTaskState: Bool { !isCodeOrData && [1, 3, 9, 11].contains(type) }
    /// An LDT.
    public var isLocalTable: Bool { !isCodeOrData && type == 2 }
    /// A system segment or gate of 32 or, in IA-32e mode, 64 bits.
    var isWideSystem: Bool { !isCodeOrData && type & 8 != 0 }

    /// What the type field means, as `code exec/read accessed` or `32-bit TSS busy`.
    /// Source: SDM volume 3A, tables 3-1 and 3-2.
    /// - Parameter inLongMode: IA-32e mode (EFER.LMA): system types are then 64-bit.
    public func typeName(inLongMode: Bool) -> String {
        guard isCodeOrData else { return Self.systemTypeName(type, inLongMode: inLongMode) }
        let accessed = type & 1 != 0 ? " accessed" : ""
        if type & 8 != 0 {
            let conforming = type & 4 != 0 ? " conforming" : ""
            return "code exec" + (type & 2 != 0 ? "/read" : "-only") + conforming + accessed
        }
        let expandDown = type & 4 != 0 ? " expand-down" : ""
        return "data read" + (type & 2 != 0 ? "/write" : "-only") + expandDown + accessed
    }

    private static func systemTypeName(_ type: UInt8, inLongMode: Bool) -> String {
        switch (type, inLongMode) {
        case (2, _): "LDT"
        case (9, true): "64-bit TSS"
        case (11, true): "64-bit TSS busy"
        case (12, true): "64-bit call gate"
        case (14, true): "64-bit interrupt gate"
        case (15, true): "64-bit trap gate"
        case (1, false): "16-bit TSS"
        case (3, false): "16-bit TSS busy"
        case (4, false): "16-bit call gate"
        case (5, false): "task gate"
        case (6, false): "16-bit interrupt gate"
        case (7, false): "16-bit trap gate"
        case (9, false): "32-bit TSS"
        case (11, false): "32-bit TSS busy"
        case (12, false): "32-bit call gate"
        case (14, false): "32-bit interrupt gate"
        case (15, false): "32-bit trap gate"
        default: "reserved system type \(type)"
        }
    }

    /// The attributes in a few words, as `code exec/read accessed, DPL 0, 32-bit, G`; `unusable` alone where
    /// the segment is.
    public func summary(inLongMode: Bool) -> String {
        if isUnusable { return "unusable" }
        var parts = [typeName(inLongMode: inLongMode), "DPL \(privilege)"]
        if !isPresent { parts.append("not present") }
        if isCodeOrData {
            parts.append(
                isCode && isLong ? (isBig ? "L and D (invalid)" : "64-bit") : isBig ? "32-bit" : "16-bit")
        }
        if isPageGranular { parts.append("G") }
        if isAvailable { parts.append("AVL") }
        return parts.joined(separator: ", ")
    }
}
