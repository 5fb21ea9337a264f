import Testing
import X86

@Suite struct RegisterProblemTests {
    /// As a 64-bit kernel has them.
    private func long() -> SpecialRegisters {
        var special = SpecialRegisters()
        special.cr0 = [.pe, .pg, .et, .ne, .wp]
        special.cr4 = [.pae, .pge]
        special.efer = [.lme, .lma, .sce, .nxe]
        special.cs = Segment(limit: 0xFFFF_FFFF, selector: 8, attributes: SegmentAttributes(rawValue: 0xA09B))
        special.ss = Segment(
            limit: 0xFFFF_FFFF, selector: 16, attributes: SegmentAttributes(rawValue: 0xC093))
        special.gs.base = 0xFFFF_8880_0000_0000
        special.gdt.base = 0xFFFF_FE00_0000_1000
        special.apicBase = 0xFEE0_0900
        return special
    }

    private func reset() -> SpecialRegisters {
        var special = SpecialRegisters()
        special.cr0 = [.et, .cd, .nw]
        special.cs = .real(0xF000, code: true)
        special.cs.base = 0xFFFF_0000
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(0) }
        return special
    }

    @Test func goodStatesHaveNone() {
        #expect(long().problems().isEmpty)
        #expect(reset().problems().isEmpty)
        #expect(RegisterFile(special: long()).problems().isEmpty)
        #expect(RegisterFile().problems().isEmpty)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var problem: RegisterProblem
        var edit: @Sendable (inout SpecialRegisters) -> Void
        var testDescription: String { "\(problem)" }
    }

    static let cases: [Case] = [
        Case(problem: .longModeActive(is: true)) { $0.cr0.remove(.pg) },
        Case(problem: .longModeActive(is: true)) { $0.efer.remove(.lme) },
        Case(problem: .longModeActive(is: false)) { $0.efer.remove(.lma) },
        Case(problem: .longCodeOutsideLongMode) { $0.efer.remove(.lma) },
        Case(problem: .pagingWithoutProtection) { $0.cr0.remove(.pe) },
        Case(problem: .notWriteThroughWithoutCacheDisable) { $0.cr0.insert(.nw) },
        Case(problem: .longModeWithoutPAE) { $0.cr4.remove(.pae) },
        Case(problem: .longAndBigCode) { $0.cs.attributes.isBig = true },
        Case(problem: .taskPriority(16)) { $0.cr8 = 16 },
        Case(problem: .apicMode) { $0.apicBase = 0xFEE0_0400 },
        Case(problem: .reservedBits(register: "CR0", mask: 1 << 32)) { $0.cr0.rawValue |= 1 << 32 },
        Case(problem: .reservedBits(register: "CR3", mask: 1 << 52)) { $0.cr3 |= 1 << 52 },
        Case(problem: .reservedBits(register: "CR4", mask: 1 << 15)) { $0.cr4.rawValue |= 1 << 15 },
        Case(problem: .reservedBits(register: "EFER", mask: 1 << 1)) { $0.efer.rawValue |= 1 << 1 },
        Case(problem: .reservedBits(register: "IA32_APIC_BASE", mask: 1)) { $0.apicBase |= 1 },
        Case(problem: .notCanonical(register: "fs.base", value: 1 << 47, bits: 48)) { $0.fs.base = 1 << 47 },
        Case(problem: .notCanonical(register: "tr.base", value: 1 << 63, bits: 48)) { $0.tr.base = 1 << 63 },
        Case(problem: .notCanonical(register: "GDTR.base", value: 1 << 47, bits: 48)) {
            $0.gdt.base = 1 << 47
        },
        Case(problem: .notCanonical(register: "IDTR.base", value: 1 << 47, bits: 48)) {
            $0.idt.base = 1 << 47
        },
        Case(problem: .beyond32Bits(register: "ss.base", value: 1 << 32)) { $0.ss.base = 1 << 32 },
        Case(problem: .limitAndGranularity(.ss, limit: 0xFFF0, isPageGranular: true)) {
            $0.ss.limit = 0xFFF0
        },
        Case(problem: .limitAndGranularity(.ss, limit: 0xFFFF_FFFF, isPageGranular: false)) {
            $0.ss.attributes.isPageGranular = false
        },
        Case(problem: .linearWidthChanged) { $0.cr4.insert(.la57) },
    ]

    @Test(arguments: cases) func anEditIsJudged(test: Case) {
        var edited = long()
        test.edit(&edited)
        #expect(edited.newProblems(since: long()).contains(test.problem))
        // What was there before the edit does not stand in the way of another one.
        var other = edited
        other.cr2 = 1
        #expect(other.newProblems(since: edited).isEmpty)
    }

    @Test func pcidNeedsLongMode() {
        var special = long()
        special.cr4.insert(.pcide)
        #expect(special.problems().isEmpty)
        var outside = reset()
        outside.cr4.insert(.pcide)
        #expect(outside.problems() == [.pcidOutsideLongMode])
    }

    @Test func wideAddressesAreCanonicalWithLA57() {
        var special = long()
        special.fs.base = 1 << 47
        special.cr4.insert(.la57)
        #expect(special.problems().isEmpty)
        special.fs.base = 1 << 56
        #expect(special.problems() == [.notCanonical(register: "fs.base", value: 1 << 56, bits: 57)])
    }

    @Test func narrowPhysicalAddresses() {
        var special = long()
        special.cr3 = 1 << 40
        #expect(special.problems(physicalAddressBits: 46).isEmpty)
        #expect(
            special.problems(physicalAddressBits: 39) == [.reservedBits(register: "CR3", mask: 1 << 40)])
    }

    @Test func generalAndDebugRegisters() {
        var file = RegisterFile(special: long())
        file.general.rip = 1 << 47
        file.general.rflags.insert(.vm)
        file.general.rflags.formUnion(RFlags(rawValue: 1 << 15))
        file.debug.dr7 |= 1 << 32
        #expect(
            Set(file.newProblems(since: RegisterFile(special: long()))) == [
                .notCanonical(register: "RIP", value: 1 << 47, bits: 48),
                .reservedBits(register: "RFLAGS", mask: 1 << 15),
                .beyond32Bits(register: "DR7", value: 0x1_0000_0400),
                .virtual8086(why: "is not there in IA-32e mode"),
            ])
        var real = RegisterFile()
        real.general.rip = 1 << 32
        #expect(real.problems() == [.beyond32Bits(register: "RIP", value: 1 << 32)])
    }
}
