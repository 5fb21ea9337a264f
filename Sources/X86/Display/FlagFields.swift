/// A named bit, or a few bits that belong together, of a flag register.
public struct FlagField: Sendable, Hashable {
    /// The manual's, in lower case.
    public var name: String
    /// The lowest bit.
    public var shift: Int
    /// In bits.
    public var width: Int
    /// A few words for people.
    public var meaning: String

    /// - Parameters:
    ///   - name: the manual's, in lower case.
    ///   - shift: its lowest bit.
    ///   - width: how many bits it has.
    ///   - meaning: what it is, in a few words.
    public init(_ name: String, _ shift: Int, width: Int = 1, _ meaning: String) {
        self.name = name
        self.shift = shift
        self.width = width
        self.meaning = meaning
    }

    /// The field's bits, in place.
    public var mask: UInt64 { ((1 << UInt64(width)) - 1) << UInt64(shift) }

    /// The field's value in `rawValue`.
    public func value(in rawValue: UInt64) -> UInt64 { (rawValue & mask) >> UInt64(shift) }
}

/// A register that is made of flags and can say their names.
public protocol FlagFields: RawRepresentable<UInt64> {
    /// All named fields, the lowest bit first.
    static var fields: [FlagField] { get }
    /// Bits that are always set and that nobody needs to be told of.
    static var alwaysSet: UInt64 { get }
}

extension FlagFields {
    /// None.
    public static var alwaysSet: UInt64 { 0 }

    /// All fields with their values, the lowest bit first.
    public var fieldValues: [(field: FlagField, value: UInt64)] {
        Self.fields.map { ($0, $0.value(in: rawValue)) }
    }

    /// The names of what is set, the lowest bit first; a wider field as `iopl=3`.
    public var setNames: [String] {
        fieldValues.compactMap { field, value in
            value == 0 ? nil : field.width == 1 ? field.name : "\(field.name)=\(value)"
        }
    }

    /// Bits that are set and have no name.
    public var unknownBits: UInt64 {
        Self.fields.reduce(rawValue & ~Self.alwaysSet) { $0 & ~$1.mask }
    }
}

extension RFlags: FlagFields {
    /// Bit 1.
    public static var alwaysSet: UInt64 { 1 << 1 }
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("cf", 0, "carry"), FlagField("pf", 2, "parity"), FlagField("af", 4, "auxiliary carry"),
        FlagField("zf", 6, "zero"), FlagField("sf", 7, "sign"), FlagField("tf", 8, "trap: single step"),
        FlagField("if", 9, "interrupts enabled"), FlagField("df", 10, "direction: down"),
        FlagField("of", 11, "overflow"), FlagField("iopl", 12, width: 2, "I/O privilege level"),
        FlagField("nt", 14, "nested task"), FlagField("rf", 16, "resume"),
        FlagField("vm", 17, "virtual-8086 mode"), FlagField("ac", 18, "alignment check, or SMAP override"),
        FlagField("vif", 19, "virtual interrupt flag"), FlagField("vip", 20, "virtual interrupt pending"),
        FlagField("id", 21, "CPUID can be used"),
    ]
}

extension CR0: FlagFields {
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("pe", 0, "protected mode"), FlagField("mp", 1, "monitor coprocessor"),
        FlagField("em", 2, "emulate x87"), FlagField("ts", 3, "task switched"),
        FlagField("et", 4, "extension type"), FlagField("ne", 5, "x87 errors are exceptions"),
        FlagField("wp", 16, "write protection at CPL 0"), FlagField("am", 18, "alignment mask"),
        FlagField("nw", 29, "not write-through"), FlagField("cd", 30, "cache disabled"),
        FlagField("pg", 31, "paging"),
    ]
}

extension CR4: FlagFields {
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("vme", 0, "virtual-8086 extensions"), FlagField("pvi", 1, "protected virtual interrupts"),
        FlagField("tsd", 2, "RDTSC only at CPL 0"), FlagField("de", 3, "debugging extensions"),
        FlagField("pse", 4, "4 MiB pages"), FlagField("pae", 5, "physical address extension"),
        FlagField("mce", 6, "machine check"), FlagField("pge", 7, "global pages"),
        FlagField("pce", 8, "RDPMC at any CPL"), FlagField("osfxsr", 9, "FXSAVE and SSE"),
        FlagField("osxmmexcpt", 10, "SSE exceptions"),
        FlagField("umip", 11, "SGDT and siblings only at CPL 0"),
        FlagField("la57", 12, "57-bit linear addresses"), FlagField("vmxe", 13, "VMX"),
        FlagField("smxe", 14, "SMX"), FlagField("fsgsbase", 16, "RDFSBASE and siblings"),
        FlagField("pcide", 17, "process-context identifiers"), FlagField("osxsave", 18, "XSAVE"),
        FlagField("kl", 19, "key locker"), FlagField("smep", 20, "no execution of user pages at CPL 0"),
        FlagField("smap", 21, "no access to user pages at CPL 0"),
        FlagField("pke", 22, "protection keys, user pages"),
        FlagField("cet", 23, "control-flow enforcement"),
        FlagField("pks", 24, "protection keys, supervisor pages"),
        FlagField("uintr", 25, "user interrupts"), FlagField("lass", 27, "linear address space separation"),
        FlagField("lam_sup", 28, "linear address masking, supervisor"), FlagField("fred", 32, "FRED"),
    ]
}

extension EFER: FlagFields {
    /// Its flags, from bit 0 up.
    public static let fields: [FlagField] = [
        FlagField("sce", 0, "SYSCALL"), FlagField("lme", 8, "IA-32e mode enabled"),
        FlagField("lma", 10, "IA-32e mode active"), FlagField("nxe", 11, "no-execute pages"),
        FlagField("svme", 12, "SVM"), FlagField("lmsle", 13, "long mode segment limits"),
        FlagField("ffxsr", 14, "fast FXSAVE"), FlagField("tce", 15, "translation cache extension"),
        FlagField("mcommit", 17, "MCOMMIT"), FlagField("intwb", 18, "interruptible WBINVD"),
        FlagField("uaie", 20, "upper address ignore"), FlagField("aibrse", 21, "automatic IBRS"),
    ]
}
