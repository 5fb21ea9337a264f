extension RegisterFile {
    /// What a real-mode or virtual-8086-mode load of a segment register does. Base = selector * 16.
    ///
    /// In real mode limit and attributes stay as they are, which keeps "unreal" mode; a segment that was
    /// unusable becomes as after reset. In virtual-8086 mode the segment becomes 64 KiB of read/write data
    /// with DPL 3. Source: SDM volume 3A, 9.9.2 and 21.1.1; the kernel's `__load_segment_descriptor`.
    public mutating func loadRealMode(_ segment: SegmentName, selector: UInt16) {
        if mode == .virtual8086 {
            special[segment] = Segment(
                base: UInt64(selector) << 4, limit: 0xFFFF, selector: selector,
                attributes: SegmentAttributes(rawValue: 0xF3))
        } else if special[segment].attributes.isUnusable {
            special[segment] = .real(selector, code: segment == .cs)
        } else {
            special[segment].selector = selector
            special[segment].base = UInt64(selector) << 4
        }
    }

    /// Loads a segment whose new state does not depend on memory. False, and nothing changed, otherwise.
    mutating func loadWithoutDescriptor(_ segment: SegmentName, selector: UInt16) -> Bool {
        let isSystem = segment == .tr || segment == .ldt
        if !isSystem, mode == .real || mode == .virtual8086 {
            loadRealMode(segment, selector: selector)
            return true
        }
        guard selector & ~3 == 0 else { return false }
        switch segment {
        case .ds, .es, .fs, .gs, .ldt:
            special[segment].selector = selector
            special[segment].attributes.isUnusable = true
            // Intel's and AMD's processors differ in whether the base stays; MOV of a null selector to FS
            // or GS clears it on Intel's.
            special[segment].base = 0
            return true
        case .ss where mode == .long64:
            // Allowed in 64-bit code below CPL 3. The DPL stays: it is the CPL that KVM goes by.
            special.ss.selector = selector
            special.ss.attributes.isUnusable = true
            return true
        case .cs, .ss, .tr:
            return false
        }
    }

    /// Bytes of the descriptor that loads `segment`: 16 for TR and LDTR in IA-32e mode, otherwise 8.
    public func descriptorSize(for segment: SegmentName) -> Int {
        special.efer.contains(.lma) && (segment == .tr || segment == .ldt) ? 16 : 8
    }

    /// The linear address of the descriptor that `selector` names in the GDT or, with bit 2 set, the LDT.
    /// - Parameters:
    ///   - selector: its index, and in bit 2 which table.
    ///   - size: the bytes that must lie within the table's limit.
    public func descriptorAddress(
        of selector: UInt16, size: Int = 8
    ) throws(SegmentLoadError) -> UInt64 {
        guard selector & ~3 != 0 else { throw .nullSelector(selector) }
        let isLocal = selector & 4 != 0
        if isLocal, special.ldt.attributes.isUnusable || special.ldt.selector & ~3 == 0 {
            throw .noLocalTable(selector)
        }
        let base = isLocal ? special.ldt.base : special.gdt.base
        let limit = isLocal ? UInt64(special.ldt.limit) : UInt64(special.gdt.limit)
        let offset = UInt64(selector & ~7)
        guard offset + UInt64(max(size, 1)) - 1 <= limit else {
            throw .beyondTable(selector, limit: limit)
        }
        let address = base &+ offset
        return special.efer.contains(.lma) ? address : address & 0xFFFF_FFFF
    }

    /// Loads `segment` from a descriptor, as MOV, a far JMP, LTR or LLDT would, apart from privilege: the
    /// debugger may load what the guest's CPL could not. The accessed bit is set in the cache, not in memory.
    ///
    /// The caller reads `low` (and `high`, see ``descriptorSize(for:)``) at ``descriptorAddress(of:size:)``.
    /// Nothing is changed where it throws. Source: SDM volume 2, MOV, LTR and LLDT.
    public mutating func load(
        _ segment: SegmentName, selector: UInt16, low: UInt64, high: UInt64 = 0
    ) throws(SegmentLoadError) {
        let inLongMode = special.efer.contains(.lma)
        var loaded = Segment(loading: low, high: high, selector: selector, inLongMode: inLongMode)
        guard loaded.attributes.isPresent else { throw .notPresent(segment, selector) }
        let attributes = loaded.attributes
        let fits: Bool
        switch segment {
        case .cs: fits = attributes.isCode
        case .ss: fits = attributes.isWritableData
        case .ds, .es, .fs, .gs: fits = attributes.isCodeOrData && attributes.isReadable
        case .tr: fits = attributes.isTaskState && !(inLongMode && !attributes.isWideSystem)
        case .ldt: fits = attributes.isLocalTable
        }
        guard fits else {
            throw .wrongType(segment, selector, is: attributes.typeName(inLongMode: inLongMode))
        }
        if segment == .cs, attributes.isLong, attributes.isBig, inLongMode {
            throw .longAndBig(selector)
        }
        if segment == .tr {
            // A loaded TSS is busy: type 1 -> 3, 9 -> 11.
            loaded.attributes.type |= 2
        } else if segment != .ldt {
            loaded.attributes.type |= 1
        }
        special[segment] = loaded
    }
}

extension Segment {
    /// The cache after a load of `selector` with the descriptor's eight bytes, little-endian, in `low`, and the
    /// upper eight of a 16-byte system descriptor in `high`. Nothing is checked.
    ///
    /// The limit is scaled to bytes. Source: SDM volume 3A, 3.4.5 and 7.2.3.
    public init(loading low: UInt64, high: UInt64 = 0, selector: UInt16, inLongMode: Bool) {
        let rawLimit = UInt32(truncatingIfNeeded: low & 0xFFFF | low >> 32 & 0xF_0000)
        var base = low >> 16 & 0xFF_FFFF | low >> 32 & 0xFF00_0000
        // Bits 40-47 of the descriptor are the attributes' 0-7; 52-55 their 12-15.
        let attributes = SegmentAttributes(
            rawValue: UInt32(truncatingIfNeeded: low >> 40 & 0xFF | low >> 40 & 0xF000))
        if inLongMode, !attributes.isCodeOrData { base |= (high & 0xFFFF_FFFF) << 32 }
        self.init(
            base: base, limit: attributes.isPageGranular ? rawLimit << 12 | 0xFFF : rawLimit,
            selector: selector, attributes: attributes)
    }
}

/// Why a segment could not be loaded by its selector.
public enum SegmentLoadError: Error, Sendable, Hashable, CustomStringConvertible {
    /// CS and SS do not take a null selector.
    case nullSelector(UInt16)
    /// The selector is of the LDT, and LDTR has none.
    case noLocalTable(UInt16)
    /// - limit: the last valid offset in the table.
    case beyondTable(UInt16, limit: UInt64)
    /// The descriptor's P is clear.
    case notPresent(SegmentName, UInt16)
    /// The register does not take a descriptor of this type.
    case wrongType(SegmentName, UInt16, is: String)
    /// A code segment with both L and D.
    case longAndBig(UInt16)

    /// What the processor would raise, and why: one line for people.
    public var description: String {
        switch self {
        case .nullSelector(let selector):
            "selector \(Self.text(selector)) is null: it names no descriptor"
        case .noLocalTable(let selector):
            "selector \(Self.text(selector)) is in the LDT, and no LDT is loaded"
        case .beyondTable(let selector, let limit):
            "selector \(Self.text(selector)) is beyond the \(selector & 4 == 0 ? "GDT" : "LDT"), whose limit is "
                + hexadecimal(limit)
        case .notPresent(let segment, let selector):
            "\(segment) = \(Self.text(selector)): the descriptor is not present"
        case .wrongType(let segment, let selector, let type):
            "\(segment) = \(Self.text(selector)): the descriptor is \(type), which \(segment) cannot hold"
        case .longAndBig(let selector):
            "cs = \(Self.text(selector)): the descriptor has both L and D set"
        }
    }

    private static func text(_ selector: UInt16) -> String { hexadecimal(UInt64(selector), digits: 4) }
}
