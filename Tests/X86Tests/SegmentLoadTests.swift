import Testing
import X86

@Suite struct SegmentLoadTests {
    /// Flat 32-bit code, base 0, 4 GiB, DPL 0, not yet accessed: what every boot sector's GDT has.
    private let flatCode: UInt64 = 0x00CF_9A00_0000_FFFF
    private let flatData: UInt64 = 0x00CF_9200_0000_FFFF

    private func protected() -> RegisterFile {
        var file = RegisterFile()
        file.special.cr0 = [.pe]
        file.special.gdt = DescriptorTable(base: 0x1000, limit: 0x27)
        return file
    }

    @Test func realModeLoadMovesTheBaseAndKeepsUnrealLimits() throws {
        var file = RegisterFile()
        file.special.ds = Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: 0, attributes: SegmentAttributes(rawValue: 0x8093))
        try file.set(try RegisterName(parsing: "ds"), to: 0x1000)
        #expect(file.special.ds.base == 0x10000)
        #expect(file.special.ds.selector == 0x1000)
        #expect(file.special.ds.limit == 0xFFFF_FFFF)
        #expect(file.special.ds.attributes.rawValue == 0x8093)
    }

    @Test func virtual8086LoadMakesACleanSegment() throws {
        var file = protected()
        file.general.rflags.insert(.vm)
        try file.set(try RegisterName(parsing: "es"), to: 0xB800)
        let expected = Segment(
            base: 0xB8000, limit: 0xFFFF, selector: 0xB800, attributes: SegmentAttributes(rawValue: 0xF3))
        #expect(file.special.es == expected)
    }

    @Test func protectedModeNeedsADescriptor() throws {
        var file = protected()
        let before = file
        #expect(throws: RegisterEditError.needsDescriptor(.ds, selector: 0x10)) {
            try file.set(try RegisterName(parsing: "ds"), to: 0x10)
        }
        #expect(file == before)
        try file.set(try RegisterName(parsing: "ds.selector"), to: 0x10)
        #expect(file.special.ds.selector == 0x10)
        #expect(file.special.ds.base == before.special.ds.base)
    }

    @Test(arguments: ["ds", "es", "fs", "gs", "ldt"])
    func nullSelectorMakesUnusable(name: String) throws {
        var file = protected()
        let register = try RegisterName(parsing: name)
        try file.set(register, to: 3)
        let segment = try #require(register.loadedSegment)
        #expect(file.special[segment].attributes.isUnusable)
        #expect(file.special[segment].selector == 3)
    }

    @Test func nullStackSegmentOnlyIn64BitMode() throws {
        var file = protected()
        file.special.ss.attributes.privilege = 2
        let ss = try RegisterName(parsing: "ss")
        #expect(throws: RegisterEditError.needsDescriptor(.ss, selector: 0)) { try file.set(ss, to: 0) }
        file.special.cr0 = [.pe, .pg]
        file.special.efer = [.lme, .lma]
        file.special.cs.attributes.isLong = true
        try file.set(ss, to: 0)
        #expect(file.special.ss.attributes.isUnusable)
        #expect(file.special.ss.attributes.privilege == 2)
    }

    @Test(arguments: ["tr", "ldt"]) func systemSegmentsNeedADescriptorInRealModeToo(name: String) throws {
        var file = RegisterFile()
        #expect(throws: RegisterEditError.self) { try file.set(try RegisterName(parsing: name), to: 8) }
        #expect(file == RegisterFile())
    }

    @Test func loadsCodeFromItsDescriptor() throws {
        var file = protected()
        #expect(try file.descriptorAddress(of: 0x08) == 0x1008)
        #expect(try file.descriptorAddress(of: 0x23) == 0x1020)
        try file.load(.cs, selector: 8, low: flatCode)
        #expect(
            file.special.cs
                == Segment(
                    base: 0, limit: 0xFFFF_FFFF, selector: 8,
                    attributes: SegmentAttributes(rawValue: 0xC09B)))
        #expect(file.mode == .protected32)
    }

    @Test func basesAndLimitsAreAssembledFromTheirPieces() {
        // Base 0x12345678, limit 0xABCDE bytes, 16-bit data.
        let segment = Segment(
            loading: 0x120A_9234_5678_BCDE, selector: 0x18, inLongMode: false)
        #expect(segment.base == 0x1234_5678)
        #expect(segment.limit == 0xABCDE)
        #expect(segment.attributes.rawValue == 0x92)
    }

    @Test func systemDescriptorsHaveSixteenBytesInLongMode() throws {
        var file = protected()
        file.special.cr0 = [.pe, .pg]
        file.special.cr4 = [.pae]
        file.special.efer = [.lme, .lma]
        #expect(file.descriptorSize(for: .tr) == 16)
        #expect(file.descriptorSize(for: .ds) == 8)
        // A 64-bit TSS at 0xFFFF_8000_1234_5678, limit 0x67.
        try file.load(.tr, selector: 0x18, low: 0x1200_8934_5678_0067, high: 0xFFFF_8000)
        #expect(file.special.tr.base == 0xFFFF_8000_1234_5678)
        #expect(file.special.tr.limit == 0x67)
        #expect(file.special.tr.attributes.type == 11)
        #expect(throws: SegmentLoadError.beyondTable(0x20, limit: 0x27)) {
            _ = try file.descriptorAddress(of: 0x20, size: 16)
        }
    }

    @Test func localTable() throws {
        var file = protected()
        file.special.ldt.attributes.isUnusable = true
        #expect(throws: SegmentLoadError.noLocalTable(0x0C)) { _ = try file.descriptorAddress(of: 0x0C) }
        file.special.ldt = Segment(
            base: 0x9000, limit: 0xF, selector: 0x10, attributes: SegmentAttributes(rawValue: 0x82))
        #expect(try file.descriptorAddress(of: 0x0C) == 0x9008)
        #expect(throws: SegmentLoadError.beyondTable(0x14, limit: 0xF)) {
            _ = try file.descriptorAddress(of: 0x14)
        }
    }

    @Test(
        arguments: [
            (SegmentName.cs, 0x00CF_9200_0000_FFFF as UInt64), (.ss, 0x00CF_9A00_0000_FFFF),
            (.ss, 0x00CF_9000_0000_FFFF), (.ds, 0x00CF_9800_0000_FFFF), (.ds, 0x0000_8900_0000_0067),
            (.tr, 0x00CF_9200_0000_FFFF), (.ldt, 0x0000_8900_0000_0067),
        ] as [(SegmentName, UInt64)])
    func refusesTheWrongKind(segment: SegmentName, descriptor: UInt64) {
        var file = protected()
        let before = file
        #expect(throws: SegmentLoadError.self) { try file.load(segment, selector: 8, low: descriptor) }
        #expect(file == before)
    }

    @Test func refusesWhatIsNotPresentOrNull() {
        var file = protected()
        #expect(throws: SegmentLoadError.notPresent(.ds, 8)) {
            try file.load(.ds, selector: 8, low: flatData & ~(1 << 47))
        }
        #expect(throws: SegmentLoadError.nullSelector(2)) { _ = try file.descriptorAddress(of: 2) }
        #expect(throws: SegmentLoadError.beyondTable(0x28, limit: 0x27)) {
            _ = try file.descriptorAddress(of: 0x28)
        }
    }
}
