/// A page that the paging structures map.
public struct MappedPage: Sendable, Hashable {
    /// The linear address of its first byte, canonical.
    public var linear: UInt64
    /// With the guest-physical address of its first byte.
    public var mapping: PageWalk.Mapping

    /// - Parameters:
    ///   - linear: the address of its first byte.
    ///   - mapping: where it leads, and with what rights.
    public init(linear: UInt64, mapping: PageWalk.Mapping) {
        self.linear = linear
        self.mapping = mapping
    }

    /// In bytes: 4 KiB, 2 MiB, 4 MiB or 1 GiB.
    public var size: UInt64 { mapping.pageSize }
    /// The linear address of its last byte.
    public var lastLinear: UInt64 { linear &+ (size &- 1) }
}

/// Goes through the paging structures and meets every page that they map, in the order of linear addresses.
///
/// A table that points back to itself, or to a table above, is gone through as the processor would: as deep as
/// the mode has levels. So a scan always ends, but tables that are all the same can hold 2^36 pages: the visitor
/// is asked at each table, too, and can end it. Source: SDM volume 3A, 4.3 to 4.5.
public struct PageScan: Sendable {
    /// What a scan comes to.
    public enum Item: Sendable, Hashable {
        /// A table is about to be gone through.
        case table(PageTableLevel, gpa: UInt64)
        /// A page that is mapped.
        case page(MappedPage)
        /// A present entry has reserved bits set, those of the mask: an access from `linear` on faults.
        case reservedBits(PageTableLevel, linear: UInt64, mask: UInt64)
        /// No memory could be read where a table should be.
        case unreadable(PageTableLevel, linear: UInt64, gpa: UInt64)
    }

    /// The paging mode that the registers make.
    public let mode: PagingMode
    private let rules: EntryRules
    private let root: UInt64
    private let levels: [PageTableLevel]

    /// - Parameters:
    ///   - special: the vCPU's: CR0, CR3, CR4 and EFER count.
    ///   - features: what the processor has of paging.
    public init(_ special: SpecialRegisters, features: PagingFeatures = PagingFeatures()) {
        mode = PagingMode(special)
        rules = EntryRules(mode: mode, special: special, features: features)
        root = rules.root(cr3: special.cr3)
        levels = mode.levels
    }

    /// All linear addresses that the mode has.
    public var everything: ClosedRange<UInt64> { mode.linearBits == 32 ? 0...0xFFFF_FFFF : 0...UInt64.max }

    /// Meets the pages that have a byte in `range`, and the flaws between them.
    /// - Parameters:
    ///   - range: linear addresses.
    ///   - readTable: fills the buffer, of a table's size, from a guest-physical address; false where there is no
    ///     memory. Called once for each table that is gone through.
    ///   - visit: false ends the scan.
    /// - Returns: false if `visit` ended it.
    @discardableResult
    public func forEach(
        in range: ClosedRange<UInt64>,
        readTable: (_ gpa: UInt64, _ into: UnsafeMutableRawBufferPointer) -> Bool, visit: (Item) -> Bool
    ) -> Bool {
        var all = PageWalk.Mapping(
            gpa: 0, pageSize: 1 << 32, isWritable: true, isUser: true, isExecutable: true, isGlobal: false,
            isAccessed: true, isDirty: true, protectionKey: 0)
        guard mode != .none else { return visit(.page(MappedPage(linear: 0, mapping: all))) }
        all.pageSize = 4096
        // One buffer a level: a table is still being gone through while those below it are read.
        var tables = levels.map { level in
            [UInt8](repeating: 0, count: (Int(rules.indexMask(level)) + 1) * mode.entrySize)
        }
        return scan(
            0, table: root, linear: 0, allowed: all, range, &tables, readTable: readTable, visit: visit)
    }

    private func scan(
        _ depth: Int, table: UInt64, linear: UInt64, allowed: PageWalk.Mapping, _ range: ClosedRange<UInt64>,
        _ tables: inout [[UInt8]], readTable: (UInt64, UnsafeMutableRawBufferPointer) -> Bool,
        visit: (Item) -> Bool
    ) -> Bool {
        let level = levels[depth]
        guard visit(.table(level, gpa: table)) else { return false }
        let isRead = tables[depth].withUnsafeMutableBytes { readTable(table, $0) }
        guard isRead else { return visit(.unreadable(level, linear: canonical(linear), gpa: table)) }
        let shift = level.indexShift(mode)
        let last = (UInt64(1) << shift) - 1
        for index in 0...rules.indexMask(level) {
            let start = canonical(linear | index << shift)
            if start &+ last < range.lowerBound { continue }
            if start > range.upperBound { break }
            let value = entry(tables[depth], Int(index))
            guard value & 1 == 1 else { continue }
            let pageShift = rules.pageShift(level, value)
            let reserved = value & rules.reservedMask(level, isPage: pageShift != nil)
            guard reserved == 0 else {
                guard visit(.reservedBits(level, linear: start, mask: reserved)) else { return false }
                continue
            }
            var combined = allowed
            rules.combine(&combined, level, value)
            let goesOn: Bool
            if let pageShift {
                combined.gpa = rules.frame(value, pageShift: pageShift)
                combined.pageSize = 1 << pageShift
                rules.finish(&combined, value)
                goesOn = visit(.page(MappedPage(linear: start, mapping: combined)))
            } else {
                goesOn = scan(
                    depth + 1, table: rules.nextTable(value), linear: linear | index << shift,
                    allowed: combined, range, &tables, readTable: readTable, visit: visit)
            }
            guard goesOn else { return false }
        }
        return true
    }

    /// Bits from the highest translated one up are equal.
    private func canonical(_ linear: UInt64) -> UInt64 {
        guard mode.linearBits > 32 else { return linear }
        let unused = UInt64(64 - mode.linearBits)
        return UInt64(bitPattern: Int64(bitPattern: linear << unused) >> Int64(unused))
    }

    private func entry(_ table: [UInt8], _ index: Int) -> UInt64 {
        table.withUnsafeBytes { bytes in
            // SAFETY: the index is the table's own, and each entry of it has the size that is loaded.
            mode.entrySize == 4
                ? UInt64(bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
                : bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
        }
    }
}

/// Neighbouring pages as one.
public struct PageRun: Sendable, Hashable {
    /// The linear address of the first page.
    public var linear: UInt64
    /// The last byte's.
    public var last: UInt64
    /// Of the first page.
    public var mapping: PageWalk.Mapping
    /// The pages follow one another in guest-physical memory, too.
    public var isContiguous: Bool
    /// How many pages it has.
    public var pages: Int

    /// A run of one page.
    public init(_ page: MappedPage) {
        linear = page.linear
        last = page.lastLinear
        mapping = page.mapping
        isContiguous = true
        pages = 1
    }

    /// Takes in the page that follows, if it allows the same; false where it does not.
    /// - Parameters:
    ///   - page: the next one that is mapped.
    ///   - contiguous: only if it follows in guest-physical memory, too.
    public mutating func extend(_ page: MappedPage, contiguous: Bool) -> Bool {
        let new = page.mapping
        let follows = new.gpa == mapping.gpa &+ (last &- linear) &+ 1
        guard page.linear == last &+ 1, follows || !contiguous, new.isWritable == mapping.isWritable,
            new.isUser == mapping.isUser, new.isExecutable == mapping.isExecutable
        else { return false }
        isContiguous = isContiguous && follows
        last = page.lastLinear
        pages += 1
        return true
    }

    /// In bytes; 0 for all of 2^64.
    public var size: UInt64 { last &- linear &+ 1 }
}
