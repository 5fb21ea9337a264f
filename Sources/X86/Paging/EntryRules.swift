/// What the bits of a paging-structure entry mean in one paging mode.
/// Source: SDM volume 3A, figures 4-4, 4-7 and 4-11 and the tables beside them.
struct EntryRules {
    let mode: PagingMode
    let usesBigPages: Bool
    let usesNoExecute: Bool
    let usesGlobal: Bool
    let features: PagingFeatures
    /// What must be clear at every level, but for the PDPTEs of PAE paging and in 32-bit paging.
    private let reservedEverywhere: UInt64

    init(mode: PagingMode, special: SpecialRegisters, features: PagingFeatures) {
        self.mode = mode
        self.features = features
        // PAE and IA-32e paging have big pages whatever CR4.PSE says.
        usesBigPages = mode != .bits32 || special.cr4.contains(.pse)
        usesNoExecute = mode != .bits32 && special.efer.contains(.nxe)
        usesGlobal = special.cr4.contains(.pge)
        let physical = features.physicalAddressBits
        reservedEverywhere =
            (physical < 52 ? Self.bits(physical...51) : 0) | (mode == .pae ? Self.bits(52...62) : 0)
            | (usesNoExecute ? 0 : 1 << 63)
    }

    private static func bits(_ range: ClosedRange<Int>) -> UInt64 {
        let upper: UInt64 = range.upperBound == 63 ? .max : (1 << UInt64(range.upperBound + 1)) - 1
        return upper & ~((1 << UInt64(range.lowerBound)) - 1)
    }

    /// Bits 51-12: the address of a table or a page.
    private static let addressBits: UInt64 = 0x000F_FFFF_FFFF_F000

    /// The physical address of the uppermost table: PCID and cache bits of CR3 are masked off.
    func root(cr3: UInt64) -> UInt64 {
        switch mode {
        case .none: 0
        case .bits32: cr3 & 0xFFFF_F000
        case .pae: cr3 & 0xFFFF_FFE0
        case .level4, .level5: cr3 & Self.addressBits
        }
    }

    /// How many entries a table has, less one.
    func indexMask(_ level: PageTableLevel) -> UInt64 {
        switch mode {
        case .bits32: 0x3FF
        case .pae where level == .directoryPointers: 3
        default: 0x1FF
        }
    }

    /// The bits of the offset in the page that this entry maps; nil where it points to another table.
    func pageShift(_ level: PageTableLevel, _ value: UInt64) -> UInt64? {
        let hasPageSize = value & 1 << 7 != 0
        switch level {
        case .table: return 12
        case .directory:
            return hasPageSize && usesBigPages ? (mode == .bits32 ? 22 : 21) : nil
        case .directoryPointers:
            return hasPageSize && mode != .pae && features.hasGigabytePages ? 30 : nil
        case .map4, .map5: return nil
        }
    }

    /// The bits that must be clear in a present entry.
    func reservedMask(_ level: PageTableLevel, isPage: Bool) -> UInt64 {
        if mode == .bits32 {
            // PSE-36: bits 20-13 of a 4 MiB page's entry hold bits 39-32 of its address, as many as there are.
            guard level == .directory, isPage else { return 0 }
            let extra = min(features.physicalAddressBits, 40) - 32
            return Self.bits((13 + extra)...21)
        }
        if mode == .pae, level == .directoryPointers {
            return reservedEverywhere | 1 << 63 | Self.bits(5...8) | 0b110
        }
        let own: UInt64 =
            switch level {
            case .map5, .map4: 1 << 7 | (features.reservesUpperGlobal ? 1 << 8 : 0)
            case .directoryPointers: isPage ? Self.bits(13...29) : features.hasGigabytePages ? 0 : 1 << 7
            case .directory: isPage ? Self.bits(13...20) : 0
            case .table: 0
            }
        return reservedEverywhere | own
    }

    /// Takes away what this level does not allow.
    func combine(_ mapping: inout PageWalk.Mapping, _ level: PageTableLevel, _ value: UInt64) {
        // The PDPTEs of PAE paging have no permissions.
        if mode == .pae, level == .directoryPointers { return }
        mapping.isWritable = mapping.isWritable && value & 1 << 1 != 0
        mapping.isUser = mapping.isUser && value & 1 << 2 != 0
        mapping.isExecutable = mapping.isExecutable && !(usesNoExecute && value >> 63 == 1)
    }

    /// Adds what only the entry that maps the page says.
    func finish(_ mapping: inout PageWalk.Mapping, _ value: UInt64) {
        mapping.isAccessed = value & 1 << 5 != 0
        mapping.isDirty = value & 1 << 6 != 0
        mapping.isGlobal = usesGlobal && value & 1 << 8 != 0
        if mode == .level4 || mode == .level5 {
            mapping.protectionKey = UInt8(truncatingIfNeeded: value >> 59 & 0xF)
        }
    }

    /// The physical address of the page.
    func frame(_ value: UInt64, pageShift: UInt64) -> UInt64 {
        if mode == .bits32, pageShift == 22 {
            return value & 0xFFC0_0000 | (value >> 13 & 0xFF) << 32
        }
        return value & Self.addressBits & ~((1 << pageShift) - 1)
    }

    /// The physical address of the next table.
    func nextTable(_ value: UInt64) -> UInt64 {
        mode == .bits32 ? value & 0xFFFF_F000 : value & Self.addressBits
    }
}
