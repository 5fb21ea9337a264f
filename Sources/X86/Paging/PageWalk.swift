/// How linear addresses become physical. Source: SDM volume 3A, 4.1.1.
public enum PagingMode: String, Sendable, Hashable, CaseIterable {
    /// CR0.PG is clear: linear is physical.
    case none
    /// 32-bit paging, two levels.
    case bits32
    /// PAE paging, three levels, the uppermost with four entries.
    case pae
    /// 4-level paging, 48-bit linear addresses.
    case level4
    /// 5-level paging, 57-bit linear addresses.
    case level5

    /// What CR0.PG, CR4.PAE, CR4.LA57 and EFER.LMA make.
    public init(_ special: SpecialRegisters) {
        if !special.cr0.contains(.pg) {
            self = .none
        } else if special.efer.contains(.lma) {
            self = special.cr4.contains(.la57) ? .level5 : .level4
        } else {
            self = special.cr4.contains(.pae) ? .pae : .bits32
        }
    }

    /// The bits of a linear address that are translated.
    public var linearBits: Int {
        switch self {
        case .none, .bits32, .pae: 32
        case .level4: 48
        case .level5: 57
        }
    }

    /// The tables in the order of the walk.
    public var levels: [PageTableLevel] {
        rootLevel.map { Array(sequence(first: $0, next: \.next)) } ?? []
    }

    /// The uppermost table; nil without paging.
    var rootLevel: PageTableLevel? {
        switch self {
        case .none: nil
        case .bits32: .directory
        case .pae: .directoryPointers
        case .level4: .map4
        case .level5: .map5
        }
    }

    /// Bytes of an entry.
    public var entrySize: Int { self == .bits32 ? 4 : 8 }
}

/// A level of paging structures; the raw value is the manual's name of its entry.
public enum PageTableLevel: String, Sendable, Hashable, CaseIterable {
    /// PML5: 256 TiB an entry.
    case map5 = "PML5E"
    /// PML4: 512 GiB an entry.
    case map4 = "PML4E"
    /// Page directory pointers: 1 GiB an entry.
    case directoryPointers = "PDPTE"
    /// Page directory: 2 MiB an entry, or 4 MiB in 32-bit paging.
    case directory = "PDE"
    /// Page table: 4 KiB an entry.
    case table = "PTE"

    /// The level that an entry of this one points to; nil below the last.
    var next: PageTableLevel? {
        switch self {
        case .map5: .map4
        case .map4: .directoryPointers
        case .directoryPointers: .directory
        case .directory: .table
        case .table: nil
        }
    }

    /// The lowest bit of a linear address that indexes this level.
    func indexShift(_ mode: PagingMode) -> UInt64 {
        switch self {
        case .map5: 48
        case .map4: 39
        case .directoryPointers: 30
        case .directory: mode == .bits32 ? 22 : 21
        case .table: 12
        }
    }
}

/// What of paging depends on the processor (CPUID), not on its registers.
public struct PagingFeatures: Sendable, Hashable {
    /// MAXPHYADDR, CPUID 0x80000008 EAX[7:0]: bits from here up are reserved in an entry. 36 to 52.
    public var physicalAddressBits: Int
    /// CPUID 0x80000001 EDX[26].
    public var hasGigabytePages: Bool
    /// Bit 8 of a PML5E or PML4E must be clear: AMD's processors. Source: APM volume 2, figures 5-19 and 5-20.
    public var reservesUpperGlobal = false

    /// The default takes every address bit that the architecture has for valid.
    public init(physicalAddressBits: Int = 52, hasGigabytePages: Bool = true) {
        self.physicalAddressBits = min(max(physicalAddressBits, 32), 52)
        self.hasGigabytePages = hasGigabytePages
    }
}

/// The translation of one linear address through the paging structures, each entry kept.
///
/// The structures are read from memory, one entry a level. (In PAE paging the processor keeps the four PDPTEs
/// in registers from the last load of CR3: memory written since then is seen here and not there.)
/// Nothing is written: accessed and dirty bits stay. Source: SDM volume 3A, 4.3 to 4.5.
public struct PageWalk: Sendable, Hashable {
    /// One entry.
    public struct Step: Sendable, Hashable {
        /// Which table the entry is in.
        public var level: PageTableLevel
        /// The physical address of the entry.
        public var address: UInt64
        /// The entry: 8 bytes, or 4 in 32-bit paging.
        public var value: UInt64
        /// In bytes: 4 or 8.
        public var size: Int
    }

    /// Where a linear address ends up, with what all levels together allow.
    public struct Mapping: Sendable, Hashable {
        /// The guest-physical address of the byte.
        public var gpa: UInt64
        /// In bytes: 4 KiB, 2 or 4 MiB, 1 GiB.
        public var pageSize: UInt64
        /// R/W is set at every level. CR0.WP says whether CPL 0 cares.
        public var isWritable: Bool
        /// U/S is set at every level.
        public var isUser: Bool
        /// XD is clear at every level, or EFER.NXE is.
        public var isExecutable: Bool
        /// G, where CR4.PGE is set.
        public var isGlobal: Bool
        /// A of the entry that maps the page.
        public var isAccessed: Bool
        /// D of the entry that maps the page.
        public var isDirty: Bool
        /// Bits 62-59 of the entry that maps the page, in 4- and 5-level paging.
        public var protectionKey: UInt8
    }

    /// How the walk ended.
    public enum Outcome: Sendable, Hashable {
        /// There is a page; whether an access is allowed is for its rights to say.
        case mapped(Mapping)
        /// Bits 63 to 47 (or 56) of the linear address differ: no walk is made.
        case nonCanonical(bits: Int)
        /// The entry's P bit is clear.
        case notPresent(PageTableLevel)
        /// A present entry has reserved bits set, those of the mask.
        case reservedBits(PageTableLevel, UInt64)
        /// No memory could be read where the entry should be.
        case unreadable(PageTableLevel, gpa: UInt64)
    }

    /// As translated: outside IA-32e mode cut to 32 bits.
    public let linear: UInt64
    /// The paging mode that the registers make.
    public let mode: PagingMode
    /// What the walk came to.
    public private(set) var outcome: Outcome
    /// The entries read, the uppermost first. Empty without paging.
    public var steps: [Step] {
        zip(mode.levels, 0..<entries.count).map { level, depth in
            let (address, value) = (entries.addresses[depth], entries.values[depth])
            return Step(level: level, address: address, value: value, size: mode.entrySize)
        }
    }
    private var entries = Entries()

    /// The mapping, if there is one.
    public var mapping: Mapping? {
        if case .mapped(let mapping) = outcome { mapping } else { nil }
    }
    /// The guest-physical address, if the page is mapped.
    public var gpa: UInt64? { mapping?.gpa }

    /// Walks the tables for one address.
    ///
    /// - Parameters:
    ///   - linear: the address.
    ///   - special: the vCPU's: CR0, CR3, CR4 and EFER count.
    ///   - features: what the processor has of paging.
    ///   - read: gives the little-endian value of 4 or 8 bytes at a guest-physical address, nil where there is no
    ///     memory. Called once a level, so at most five times, whatever the tables hold.
    public init(
        _ linear: UInt64, _ special: SpecialRegisters, features: PagingFeatures = PagingFeatures(),
        read: (_ gpa: UInt64, _ size: Int) -> UInt64?
    ) {
        mode = PagingMode(special)
        // CR0.PG clear implies that the processor is outside IA-32e mode: addresses have 32 bits.
        self.linear = mode == .level4 || mode == .level5 ? linear : linear & 0xFFFF_FFFF
        var combined = Mapping(
            gpa: self.linear, pageSize: 4096, isWritable: true, isUser: true, isExecutable: true,
            isGlobal: false, isAccessed: true, isDirty: true, protectionKey: 0)
        outcome = .mapped(combined)
        guard mode != .none else { return }
        guard mode.linearBits == 32 || isCanonical(linear, bits: mode.linearBits) else {
            outcome = .nonCanonical(bits: mode.linearBits)
            return
        }

        let rules = EntryRules(mode: mode, special: special, features: features)
        var table = rules.root(cr3: special.cr3)
        var next = mode.rootLevel
        while let level = next {
            let index = self.linear >> level.indexShift(mode) & rules.indexMask(level)
            let address = table &+ index &* UInt64(mode.entrySize)
            guard let raw = read(address, mode.entrySize) else {
                outcome = .unreadable(level, gpa: address)
                return
            }
            let value = mode.entrySize == 4 ? raw & 0xFFFF_FFFF : raw
            entries.append(value, at: address)
            guard value & 1 == 1 else {
                outcome = .notPresent(level)
                return
            }
            let pageShift = rules.pageShift(level, value)
            let reserved = value & rules.reservedMask(level, isPage: pageShift != nil)
            guard reserved == 0 else {
                outcome = .reservedBits(level, reserved)
                return
            }
            rules.combine(&combined, level, value)
            if let pageShift {
                let offset = self.linear & ((1 << pageShift) - 1)
                combined.gpa = rules.frame(value, pageShift: pageShift) | offset
                combined.pageSize = 1 << pageShift
                rules.finish(&combined, value)
                outcome = .mapped(combined)
                return
            }
            table = rules.nextTable(value)
            next = level.next
        }
    }
}

extension PageWalk {
    /// What was read, kept in place: walks are made by the thousand, and allocate nothing.
    private struct Entries: Sendable, Hashable {
        private(set) var count = 0
        private(set) var addresses = InlineArray<5, UInt64>(repeating: 0)
        private(set) var values = InlineArray<5, UInt64>(repeating: 0)

        mutating func append(_ value: UInt64, at address: UInt64) {
            addresses[count] = address
            values[count] = value
            count += 1
        }

        static func == (one: Entries, other: Entries) -> Bool {
            one.count == other.count
                && (0..<one.count).allSatisfy {
                    one.addresses[$0] == other.addresses[$0] && one.values[$0] == other.values[$0]
                }
        }

        func hash(into hasher: inout Hasher) {
            for depth in 0..<count {
                hasher.combine(addresses[depth])
                hasher.combine(values[depth])
            }
        }
    }
}

extension PageWalk.Outcome: CustomStringConvertible {
    /// What the walk came to: one line for people.
    public var description: String {
        switch self {
        case .mapped(let mapping):
            "mapped to \(hexadecimal(mapping.gpa)), \(mapping.sizeName) page, \(mapping.permissions)"
        case .nonCanonical(let bits): "not canonical: bits 63 to \(bits - 1) differ"
        case .notPresent(let level): "not present: \(level.rawValue) has P clear"
        case .reservedBits(let level, let mask):
            "reserved bits set in \(level.rawValue): \(hexadecimal(mask))"
        case .unreadable(let level, let gpa):
            "no memory at \(hexadecimal(gpa)), where the \(level.rawValue) should be"
        }
    }
}

extension PageWalk.Mapping {
    /// `4K`, `2M`, `4M` or `1G`.
    public var sizeName: String {
        pageSize >= 1 << 30
            ? "\(pageSize >> 30)G" : pageSize >= 1 << 20 ? "\(pageSize >> 20)M" : "\(pageSize >> 10)K"
    }

    /// Read, write, execute and user or supervisor, as `rwx user` or `r-- supervisor`.
    public var permissions: String {
        "r\(isWritable ? "w" : "-")\(isExecutable ? "x" : "-") \(isUser ? "user" : "supervisor")"
    }
}
