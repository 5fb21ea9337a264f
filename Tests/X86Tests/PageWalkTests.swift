import Testing
import X86

/// Physical memory that holds what was put there, and nothing else.
private struct Tables {
    var entries: [UInt64: UInt64] = [:]
    var special = SpecialRegisters()
    var features = PagingFeatures()

    init(_ mode: PagingMode, cr3: UInt64) {
        special.cr3 = cr3
        special.cr0 = mode == .none ? [.pe] : [.pe, .pg]
        switch mode {
        case .none: break
        case .bits32: special.cr4 = [.pse]
        case .pae: special.cr4 = [.pae]
        case .level4: special.cr4 = [.pae]
        case .level5: special.cr4 = [.pae, .la57]
        }
        if mode == .level4 || mode == .level5 { special.efer = [.lme, .lma, .nxe] }
    }

    func walk(_ linear: UInt64) -> PageWalk {
        PageWalk(linear, special, features: features) { gpa, _ in entries[gpa] }
    }
}

@Suite struct PageWalkTests {
    @Test func withoutPagingLinearIsPhysical() {
        let walk = Tables(.none, cr3: 0x1000).walk(0x1_0000_7C00)
        #expect(walk.mode == .none)
        #expect(walk.gpa == 0x7C00)
        #expect(walk.steps.isEmpty)
    }

    @Test func thirtyTwoBitSmallPage() {
        var tables = Tables(.bits32, cr3: 0x5018)
        // Linear 0xC0123456: directory index 0x300, table index 0x123.
        tables.entries = [0x5C00: 0x0000_6027, 0x648C: 0x0ABC_D061]
        let walk = tables.walk(0xC012_3456)
        #expect(walk.gpa == 0x0ABC_D456)
        #expect(walk.steps.map(\.address) == [0x5C00, 0x648C])
        #expect(walk.steps.map(\.level) == [.directory, .table])
        #expect(walk.steps.map(\.size) == [4, 4])
        // The directory allows user and write, the table neither; D and A are the table's.
        #expect(walk.mapping?.isUser == false)
        #expect(walk.mapping?.isWritable == false)
        #expect(walk.mapping?.isExecutable == true)
        #expect(walk.mapping?.isDirty == true)
        #expect(walk.mapping?.isAccessed == true)
        #expect(walk.mapping?.pageSize == 4096)
    }

    @Test func pse36() {
        var tables = Tables(.bits32, cr3: 0x5000)
        // A 4 MiB page at 0xA5_1240_0000: bits 39-32 (0xA5) stand in bits 20-13 of the entry.
        tables.entries = [0x5000 + 4 * 0x048: 0x1240_0000 | 0xA5 << 13 | 0x87]
        let walk = tables.walk(0x1234_5678)
        #expect(walk.gpa == 0xA5_1240_0000 + 0x34_5678)
        #expect(walk.mapping?.pageSize == 4 << 20)
        #expect(walk.mapping?.sizeName == "4M")
        // With 36 address bits, 0xA5 has bits that are reserved.
        tables.features.physicalAddressBits = 36
        #expect(tables.walk(0x1234_5678).outcome == .reservedBits(.directory, 0xA0 << 13))
        // Without CR4.PSE the bit is ignored, and the entry points to a table at 0x1254_A000.
        tables.special.cr4 = []
        #expect(tables.walk(0x1234_5678).outcome == .unreadable(.table, gpa: 0x1254_AD14))
    }

    @Test func bit21OfABigPageIsReserved() {
        var tables = Tables(.bits32, cr3: 0)
        tables.entries = [0: 1 << 21 | 0x83]
        #expect(tables.walk(0).outcome == .reservedBits(.directory, 1 << 21))
    }

    @Test func paeSmallAndBig() {
        var tables = Tables(.pae, cr3: 0x5020)
        tables.special.efer = [.nxe]
        // Linear 0xC0A03123: PDPTE 3, PDE 5, PTE 3.
        tables.entries = [
            0x5038: 0x6001, 0x6028: 0x7007, 0x7018: 0x8000_0009_8765_4007,
            // PDE 6: a 2 MiB page, with a bit below its address.
            0x6030: 0xF_0020_20E7,
        ]
        let small = tables.walk(0xC0A0_3123)
        #expect(small.gpa == 0x9_8765_4123)
        #expect(small.mapping?.isExecutable == false)
        #expect(small.mapping?.isWritable == true)
        #expect(small.mapping?.isUser == true)
        #expect(small.steps.map(\.level) == [.directoryPointers, .directory, .table])
        let big = tables.walk(0xC0C0_0000 + 0x1F_FFFF)
        #expect(big.outcome == .reservedBits(.directory, 0x2000))
        tables.entries[0x6030] = 0xF_0020_00E7
        let mapped = tables.walk(0xC0C0_0000 + 0x1F_FFFF)
        #expect(mapped.gpa == 0xF_003F_FFFF)
        #expect(mapped.mapping?.pageSize == 2 << 20)
        // Without EFER.NXE the bit is reserved.
        tables.special.efer = []
        #expect(tables.walk(0xC0A0_3123).outcome == .reservedBits(.table, 1 << 63))
    }

    @Test func paePointerTableHasReservedBits() {
        var tables = Tables(.pae, cr3: 0x5000)
        tables.entries = [0x5000: 0x6003]
        #expect(tables.walk(0).outcome == .reservedBits(.directoryPointers, 2))
    }

    @Test func fourLevels() {
        // CR3 with a PCID in its low bits and the no-flush bit on top.
        var tables = Tables(.level4, cr3: 1 << 63 | 0x1ABC)
        tables.special.cr4.formUnion([.pcide, .pge])
        // Linear 0xFFFF_8881_2345_6789.
        let linear: UInt64 = 0xFFFF_8881_2345_6789
        let indexes = [39, 30, 21, 12].map { linear >> $0 & 0x1FF }
        tables.entries = [
            0x1000 + indexes[0] * 8: 0x2067, 0x2000 + indexes[1] * 8: 0x3067,
            0x3000 + indexes[2] * 8: 0x4067, 0x4000 + indexes[3] * 8: 0x3800_00AB_CDEF_0163,
        ]
        let walk = tables.walk(linear)
        #expect(walk.gpa == 0xAB_CDEF_0789)
        #expect(walk.mapping?.isUser == false)
        #expect(walk.mapping?.isGlobal == true)
        #expect(walk.mapping?.protectionKey == 7)
        #expect(walk.steps.map(\.level.rawValue) == ["PML4E", "PDPTE", "PDE", "PTE"])
        #expect("\(walk.outcome)" == "mapped to 0xabcdef0789, 4K page, rwx supervisor")
        tables.special.cr4.remove(.pge)
        #expect(tables.walk(linear).mapping?.isGlobal == false)
    }

    @Test func gigabyteAndTwoMegabytePages() {
        var tables = Tables(.level4, cr3: 0x1000)
        tables.entries = [
            0x1000: 0x2007, 0x2008: 0x1_8000_0087, 0x2000: 0x3007, 0x3008: 0x8000_0000_00C0_0083,
        ]
        let gigabyte = tables.walk(0x7654_3210)
        #expect(gigabyte.gpa == 0x1_8000_0000 + 0x3654_3210)
        #expect(gigabyte.mapping?.sizeName == "1G")
        let twoMegabytes = tables.walk(0x3F_FFFF)
        #expect(twoMegabytes.gpa == 0xDF_FFFF)
        #expect(twoMegabytes.mapping?.permissions == "rw- supervisor")
        tables.features.hasGigabytePages = false
        #expect(tables.walk(0x7654_3210).outcome == .reservedBits(.directoryPointers, 1 << 7))
        tables.features.hasGigabytePages = true
        tables.entries[0x2008] = 0x1_8000_2087
        #expect(tables.walk(0x7654_3210).outcome == .reservedBits(.directoryPointers, 0x2000))
    }

    @Test func fiveLevels() {
        var tables = Tables(.level5, cr3: 0x1000)
        let linear: UInt64 = 0x00AB_8000_0000_0FFF
        tables.entries = [
            0x1000 + (linear >> 48 & 0x1FF) * 8: 0x2007, 0x2000 + (linear >> 39 & 0x1FF) * 8: 0x3007,
            0x3000: 0x4007, 0x4000: 0x5007, 0x5000: 0x6005,
        ]
        let walk = tables.walk(linear)
        #expect(walk.gpa == 0x6FFF)
        #expect(walk.steps.count == 5)
        #expect(walk.mapping?.isWritable == false)
        #expect(tables.walk(1 << 56).outcome == .nonCanonical(bits: 57))
        #expect(tables.walk(0xFF00_0000_0000_0000).outcome == .unreadable(.map5, gpa: 0x1000 + 0x100 * 8))
    }

    @Test func addressesThatAreNotCanonical() {
        let tables = Tables(.level4, cr3: 0x1000)
        #expect(tables.walk(1 << 47).outcome == .nonCanonical(bits: 48))
        #expect(tables.walk(0xFFFE_8000_0000_0000).outcome == .nonCanonical(bits: 48))
        #expect(tables.walk(1 << 47).steps.isEmpty)
    }

    @Test func stopsWhereTheTablesDo() {
        var tables = Tables(.level4, cr3: 0x1000)
        #expect(tables.walk(0).outcome == .unreadable(.map4, gpa: 0x1000))
        tables.entries[0x1000] = 0x2006
        #expect(tables.walk(0).outcome == .notPresent(.map4))
        #expect(tables.walk(0).steps.map(\.value) == [0x2006])
        tables.entries[0x1000] = 0x2087
        #expect(tables.walk(0).outcome == .reservedBits(.map4, 0x80))
        tables.entries[0x1000] = 0x2107
        #expect(tables.walk(0).outcome == .unreadable(.directoryPointers, gpa: 0x2000))
        tables.features.reservesUpperGlobal = true
        #expect(tables.walk(0).outcome == .reservedBits(.map4, 0x100))
        tables.entries[0x1000] = 0x2007
        #expect(tables.walk(0).outcome == .unreadable(.directoryPointers, gpa: 0x2000))
        tables.features.physicalAddressBits = 40
        tables.entries[0x1000] = 0x100_0000_2007
        #expect(tables.walk(0).outcome == .reservedBits(.map4, 0x100_0000_0000))
    }

    @Test(arguments: [PagingMode.bits32, .pae, .level4, .level5])
    func tablesThatPointToThemselvesEnd(mode: PagingMode) {
        var reads = 0
        let tables = Tables(mode, cr3: 0x1000)
        // Every entry of every table is the table itself.
        let walk = PageWalk(0xFFF, tables.special) { _, _ in
            reads += 1
            return mode == .pae && reads == 1 ? 0x1001 : 0x1067
        }
        #expect(reads == mode.levels.count)
        #expect(walk.gpa == 0x1FFF)
    }

    /// Whatever stands in memory, the walk ends, within its bounds.
    @Test func randomTables() {
        var random = Numbers(seed: 1)
        for _ in 0..<2000 {
            for mode in [PagingMode.bits32, .pae, .level4, .level5] {
                var tables = Tables(mode, cr3: random.next())
                tables.special.efer.formUnion(EFER(rawValue: random.next() & 0x800))
                var reads = 0
                let walk = PageWalk(random.next(), tables.special) { gpa, size in
                    reads += 1
                    #expect(gpa & UInt64(size - 1) == 0)
                    #expect(gpa >> 52 == 0)
                    return random.next() | 1
                }
                #expect(reads == walk.steps.count)
                #expect(reads <= mode.levels.count)
                if let gpa = walk.gpa { #expect(gpa >> 52 == 0) }
            }
        }
    }
}
