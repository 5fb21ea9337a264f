import Testing
import X86

@Suite struct DisplayTests {
    @Test func flagsByName() {
        let flags: RFlags = [.reserved1, .cf, .zf, .if, RFlags(rawValue: 3 << 12 | 1 << 40)]
        #expect(flags.setNames == ["cf", "zf", "if", "iopl=3"])
        #expect(flags.unknownBits == 1 << 40)
        #expect((CR0([.pe, .et, .pg])).setNames == ["pe", "et", "pg"])
        #expect(EFER(rawValue: 0xD01).setNames == ["sce", "lme", "lma", "nxe"])
        #expect(DR6(rawValue: 0xFFFF_4FF1).setNames == ["b0", "bs"])
        #expect(DR6(rawValue: 0xFFFF_4FF1).unknownBits == 0)
    }

    /// The tables and the option sets, which stand apart, agree; no two fields overlap.
    @Test func tablesAreConsistent() {
        check(RFlags.self)
        check(CR0.self)
        check(CR4.self)
        check(EFER.self)
        check(DR6.self)
        check(DR7.self)
        let all: RFlags = [
            .cf, .pf, .af, .zf, .sf, .tf, .if, .df, .of, .nt, .rf, .vm, .ac, .vif, .vip, .id, .reserved1,
        ]
        #expect(all.unknownBits == 0)
        #expect(all.setNames.count == 16)
        #expect(CR4([.lamSup, .uintr, .pks, .cet]).setNames == ["cet", "pks", "uintr", "lam_sup"])
    }

    private func check<Flags: FlagFields>(_: Flags.Type) {
        var seen: UInt64 = 0
        for field in Flags.fields {
            #expect(seen & field.mask == 0, "\(field.name)")
            seen |= field.mask
        }
        #expect(Set(Flags.fields.map(\.name)).count == Flags.fields.count)
        #expect(Flags.fields.map(\.shift) == Flags.fields.map(\.shift).sorted())
    }

    @Test func debugControl() {
        var dr7 = DR7(rawValue: 0x400)
        dr7[2] = DR7.Breakpoint(isGlobal: true, condition: .write, length: 8)
        // G2 is bit 5; R/W2 bits 24-25 (01); LEN2 bits 26-27 (10: eight bytes).
        #expect(dr7.rawValue == 0x400 | 1 << 5 | 0b1001 << 24)
        dr7[0] = DR7.Breakpoint(isLocal: true, condition: .access, length: 4)
        #expect(dr7[0] == DR7.Breakpoint(isLocal: true, condition: .access, length: 4))
        #expect(dr7[2].length == 8)
        #expect(!dr7[1].isEnabled)
        dr7[2] = DR7.Breakpoint(condition: .execution, length: 1)
        #expect(dr7.rawValue == 0x400 | 1 | 0b1111 << 16)
        #expect(dr7.setNames == ["l0", "rw0=3", "len0=3"])
    }

    @Test(
        arguments: [
            (0x9B as UInt32, false, "code exec/read accessed"), (0x9C, false, "code exec-only conforming"),
            (0x93, false, "data read/write accessed"), (0x96, false, "data read/write expand-down"),
            (0x90, false, "data read-only"), (0x8B, false, "32-bit TSS busy"),
            (0x8B, true, "64-bit TSS busy"),
            (0x81, false, "16-bit TSS"), (0x81, true, "reserved system type 1"), (0x82, true, "LDT"),
            (0x8E, true, "64-bit interrupt gate"), (0x85, false, "task gate"),
            (0x80, false, "reserved system type 0"),
        ] as [(UInt32, Bool, String)])
    func segmentTypes(attributes: UInt32, inLongMode: Bool, name: String) {
        #expect(SegmentAttributes(rawValue: attributes).typeName(inLongMode: inLongMode) == name)
    }

    @Test(
        arguments: [
            (0xC09B as UInt32, false, "code exec/read accessed, DPL 0, 32-bit, G"),
            (0xA0FB, true, "code exec/read accessed, DPL 3, 64-bit, G"),
            (0x13, false, "data read/write accessed, DPL 0, not present, 16-bit"),
            (0x10000, false, "unusable"), (0x8B, true, "64-bit TSS busy, DPL 0"),
        ] as [(UInt32, Bool, String)])
    func segmentSummary(attributes: UInt32, inLongMode: Bool, text: String) {
        #expect(SegmentAttributes(rawValue: attributes).summary(inLongMode: inLongMode) == text)
    }

    @Test func localAPIC() throws {
        var state = try #require(LocalAPICState(bytes: Array(repeating: 0, count: LocalAPICState.size)))
        state[0x20] = 5 << 24
        state[0xF0] = 0x1FF
        state[0x210] = 1 << 3 | 1 << 31
        state[0x170] = 1 << 31
        state[0x3E0] = 0b1011
        #expect(state.id == 5)
        #expect(state.isEnabled)
        #expect(state.vectors(.irr) == [35, 63])
        #expect(state.vectors(.isr) == [255])
        #expect(state.vectors(.tmr) == [])
        #expect(state.timerDivisor == 1)
        state[0x3E0] = 0
        #expect(state.timerDivisor == 2)
        state[0x3E0] = 0b1010
        #expect(state.timerDivisor == 128)
        state[0x300] = 0x000C_4611
        state[0x310] = 2 << 24
        let command = InterruptCommand(state)
        #expect(command.deliveryMode == .startUp)
        #expect(command.shorthand == .allButItself)
        #expect("\(command)" == "vector 0x11 start-up to all but itself")
        #expect(command.isAssert)
        #expect(command.destination == 2)
    }

    @Test func localVectors() {
        let timer = LocalVector(rawValue: 0x0002_00EC)
        #expect(timer.timerMode == .periodic)
        #expect("\(timer)" == "vector 0xec fixed edge")
        let pin = LocalVector(rawValue: 0x0001_F700)
        #expect("\(pin)" == "vector 0x00 ExtINT level active low pending remote IRR masked")
        let offsets = LocalAPICRegister.all.map(\.offset)
        #expect(offsets == offsets.sorted())
        #expect(offsets.allSatisfy { $0 % 16 == 0 && $0 + 4 <= LocalAPICState.size })
        #expect(LocalAPICRegister.all.filter(\.isLocalVector).count == 7)
    }

    @Test(
        arguments: [
            (0 as UInt64, 0 as UInt64, true, "null"),
            (
                0x00CF_9A00_0000_FFFF, 0, false,
                "base 0x00000000 limit 0xffffffff code exec/read, DPL 0, 32-bit, G"
            ),
            (
                0x1200_8B34_5678_0067, 0xFFFF_8000, true,
                "base 0xffff800012345678 limit 0x67 64-bit TSS busy, DPL 0"
            ),
            (
                0x1234_8E02_0010_5678, 0xFFFF_8000, true,
                "64-bit interrupt gate to 0010:ffff800012345678, DPL 0, IST 2"
            ),
            (0x1234_8F00_0008_5678, 0, false, "32-bit trap gate to 0008:12345678, DPL 0"),
            (0x1234_8603_0008_5678, 0, false, "16-bit interrupt gate to 0008:5678, DPL 0"),
            (0x0000_E403_0008_5678, 0, false, "16-bit call gate to 0008:5678, DPL 3, 3 parameters"),
            (0x0000_0500_0018_0000, 0, false, "task gate to 0x0018, DPL 0, not present"),
            (0x0000_8500_0018_0000, 0, true, "reserved system type 5: 0x0000850000180000"),
        ] as [(UInt64, UInt64, Bool, String)])
    func descriptors(low: UInt64, high: UInt64, inLongMode: Bool, text: String) {
        #expect("\(Descriptor(low: low, high: high, inLongMode: inLongMode))" == text)
    }

    @Test func descriptorSizes() {
        #expect(Descriptor.size(low: 0x1200_8B34_5678_0067, inLongMode: true) == 16)
        #expect(Descriptor.size(low: 0x1200_8B34_5678_0067, inLongMode: false) == 8)
        #expect(Descriptor.size(low: 0x00AF_9A00_0000_FFFF, inLongMode: true) == 8)
        #expect(Descriptor.size(low: 0, inLongMode: true) == 8)
        let vector = Descriptor.Gate(realModeVector: 0xF000_FF53)
        #expect(vector.target.description == "f000:ff53")
    }

    @Test func addresses() {
        #expect("\(SegmentedAddress(selector: 0xF000, offset: 0xFFF0))" == "f000:fff0")
        #expect("\(SegmentedAddress(selector: 8, offset: 0x10_0000))" == "0008:100000")
        #expect(SegmentedAddress(selector: 0xFFFF, offset: 0xFFFF).realModeLinear == 0x10_FFEF)
        #expect(isCanonical(0x7FFF_FFFF_FFFF, bits: 48))
        #expect(!isCanonical(0x8000_0000_0000, bits: 48))
        #expect(isCanonical(0xFFFF_8000_0000_0000, bits: 48))
        #expect(isCanonical(0x8000_0000_0000, bits: 57))
        var special = SpecialRegisters()
        special.cs.base = 0xFFFF_0000
        special.gs.base = 0x1000
        #expect(special.linear(.cs, 0x1_FFF0, mode: .real) == 0xFFF0)
        #expect(special.linear(.cs, 0xFFF0, mode: .long64) == 0xFFF0)
        #expect(special.linear(.gs, 8, mode: .long64) == 0x1008)
        #expect(hexadecimal(0xAB, digits: 4) == "0x00ab")
    }
}
