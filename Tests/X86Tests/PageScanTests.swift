import Testing
import X86

/// Physical memory of pages that hold what was put there, and zeros.
private struct Memory {
    var entries: [UInt64: UInt64] = [:]
    /// Where there is none from.
    var size: UInt64 = .max

    func read(_ gpa: UInt64, _ buffer: UnsafeMutableRawBufferPointer, entrySize: Int) -> Bool {
        guard gpa < size else { return false }
        for offset in stride(from: 0, to: buffer.count, by: entrySize) {
            let value = entries[gpa + UInt64(offset)] ?? 0
            for byte in 0..<entrySize {
                buffer[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(byte * 8))
            }
        }
        return true
    }

    func word(_ gpa: UInt64) -> UInt64? { gpa < size ? entries[gpa] ?? 0 : nil }
}

private func registers(_ mode: PagingMode, cr3: UInt64) -> SpecialRegisters {
    var special = SpecialRegisters()
    special.cr3 = cr3
    special.cr0 = mode == .none ? [.pe] : [.pe, .pg]
    special.cr4 = mode == .bits32 ? [.pse] : mode == .level5 ? [.pae, .la57] : [.pae]
    if mode == .level4 || mode == .level5 { special.efer = [.lme, .lma, .nxe] }
    return special
}

private func items(
    _ special: SpecialRegisters, _ memory: Memory, in range: ClosedRange<UInt64>? = nil,
    stopAfter limit: Int = .max
) -> (items: [PageScan.Item], isComplete: Bool) {
    let scan = PageScan(special)
    var items: [PageScan.Item] = []
    let isComplete = scan.forEach(in: range ?? scan.everything) { gpa, buffer in
        memory.read(gpa, buffer, entrySize: scan.mode.entrySize)
    } visit: { item in
        if case .table = item { return true }
        items.append(item)
        return items.count < limit
    }
    return (items, isComplete)
}

private func pages(_ items: [PageScan.Item]) -> [MappedPage] {
    items.compactMap { if case .page(let page) = $0 { page } else { nil } }
}

@Suite struct PageScanTests {
    /// A few random pages at every level: what the scan finds is what a walk finds, and nothing else is mapped.
    @Test(arguments: [PagingMode.bits32, .pae, .level4, .level5])
    func findsWhatWalksFind(mode: PagingMode) {
        var random = Numbers(seed: UInt64(mode.levels.count))
        for _ in 0..<40 {
            let special = registers(mode, cr3: 0x1000)
            var memory = Memory()
            let size = UInt64(mode.entrySize)
            // Each table of the next level is at a page of its own; four entries of it are used.
            var tables: [UInt64] = [0x1000]
            var next: UInt64 = 0x2000
            var linears: [UInt64] = [0]
            var expected: [UInt64] = []
            for level in mode.levels {
                var deeper: [(table: UInt64, linear: UInt64)] = []
                let isPointers = mode == .pae && level == .directoryPointers
                let (shift, count): (UInt64, UInt64) =
                    switch (mode, level) {
                    case (.bits32, .directory): (22, 1024)
                    case (.bits32, _): (12, 1024)
                    case (.pae, .directoryPointers): (30, 4)
                    case (_, .map5): (48, 512)
                    case (_, .map4): (39, 512)
                    case (_, .directoryPointers): (30, 512)
                    case (_, .directory): (21, 512)
                    default: (12, 512)
                    }
                for (table, linear) in zip(tables, linears) {
                    for _ in 0..<3 {
                        let index = random.next() % count
                        let place = table + index * size
                        guard memory.entries[place] == nil else { continue }
                        let here = linear | index << shift
                        if level == .table || level == .directory && random.next() % 4 == 0 {
                            let big: UInt64 = level == .directory ? 0x80 : 0
                            memory.entries[place] =
                                (random.next() & 0xF000_0000) | big | 7 & ~(random.next() & 2)
                            expected.append(here)
                        } else {
                            memory.entries[place] = next | (isPointers ? 1 : 7)
                            deeper.append((next, here))
                            next += 0x1000
                        }
                    }
                }
                tables = deeper.map(\.table)
                linears = deeper.map(\.linear)
            }
            let found = pages(items(special, memory).items)
            let unused = UInt64(64 - mode.linearBits)
            let canonical = expected.map { linear in
                unused == 32
                    ? linear
                    : UInt64(bitPattern: Int64(bitPattern: linear << unused) >> Int64(unused))
            }
            #expect(found.map(\.linear) == canonical.sorted())
            for page in found {
                let walk = PageWalk(page.linear, special) { gpa, _ in memory.word(gpa) }
                #expect(walk.mapping == page.mapping)
                #expect(PageWalk(page.lastLinear, special) { gpa, _ in memory.word(gpa) }.mapping != nil)
            }
        }
    }

    @Test func withoutPagingAllIsAsItIs() {
        let found = pages(items(registers(.none, cr3: 0), Memory()).items)
        #expect(found.map(\.linear) == [0])
        #expect(found.first?.lastLinear == 0xFFFF_FFFF)
        #expect(found.first?.mapping.gpa == 0)
    }

    @Test func aRangeCutsWhatIsMet() {
        var memory = Memory()
        memory.entries = [0x1000: 0x2007]
        for index: UInt64 in 0..<1024 { memory.entries[0x2000 + index * 4] = index << 12 | 7 }
        let special = registers(.bits32, cr3: 0x1000)
        let found = pages(items(special, memory, in: 0x3FFF...0x5000).items)
        #expect(found.map(\.linear) == [0x3000, 0x4000, 0x5000])
        #expect(pages(items(special, memory, in: 0x40_0000...0xFFFF_FFFF).items).isEmpty)
    }

    @Test func flawsAreMet() {
        var memory = Memory()
        memory.size = 0x1_0000
        memory.entries = [0x1000: 0x2007, 0x1008: 0x9_0000_0007, 0x2000: 0x3007, 0x3000: 0x6087]
        let special = registers(.level4, cr3: 0x1000)
        #expect(
            items(special, memory).items == [
                .reservedBits(.directory, linear: 0, mask: 0x6000),
                .unreadable(.directoryPointers, linear: 1 << 39, gpa: 0x9_0000_0000),
            ])
    }

    /// 512 entries that all are the table itself: 2^36 pages, and the visitor ends it.
    @Test func tablesThatPointToThemselvesCanBeEnded() {
        var memory = Memory()
        for index: UInt64 in 0..<512 { memory.entries[0x1000 + index * 8] = 0x1007 }
        let (found, isComplete) = items(registers(.level4, cr3: 0x1000), memory, stopAfter: 5000)
        #expect(!isComplete)
        #expect(found.count == 5000)
        #expect(pages(found)[4999].linear == 4999 << 12)
    }

    @Test func upperHalvesAreCanonical() {
        var memory = Memory()
        memory.entries = [0x1FF8: 0x2007, 0x2FF8: 0xC000_0087]
        let found = pages(items(registers(.level4, cr3: 0x1000), memory).items)
        #expect(found.map(\.linear) == [0xFFFF_FFFF_C000_0000])
        #expect(found.first?.lastLinear == .max)
        var run = found.map(PageRun.init).first
        #expect(run?.extend(MappedPage(linear: 0, mapping: found[0].mapping), contiguous: false) == true)
        #expect(run?.isContiguous == false)
    }
}
