import Disassembler
import Testing
import X86

@Suite struct BranchTests {
    /// All sixteen conditions, by the flags that make the even one of each pair hold.
    @Test(
        arguments: [
            (0 as UInt8, [.of] as RFlags), (2, [.cf]), (4, [.zf]), (6, [.cf]), (6, [.zf]), (8, [.sf]),
            (10, [.pf]),
            (12, [.sf]), (12, [.of]), (14, [.zf]), (14, [.sf]), (14, [.of]), (14, [.zf, .sf, .of]),
        ] as [(UInt8, RFlags)])
    func conditions(code: UInt8, flags: RFlags) {
        for (code, flags, holds) in [
            (code, flags, true), (code | 1, flags, false), (code, [], false), (code | 1, [], true),
        ] as [(UInt8, RFlags, Bool)] {
            var file = RegisterFile()
            file.general.rflags = flags.union(.reserved1)
            let short = Disassembler().decode([0x70 | code, 0x10], at: 0, .real16)
            #expect(short.willBranch(file) == holds)
            let near = Disassembler().decode([0x0F, 0x80 | code, 0, 0, 0, 0], at: 0, .long64)
            #expect(near.willBranch(file) == holds)
        }
    }

    @Test func signedComparisonWithBothFlags() {
        var file = RegisterFile()
        file.general.rflags = [.sf, .of]
        // JL is not taken, JGE is.
        #expect(Disassembler().decode([0x7C, 0], at: 0, .real16).willBranch(file) == false)
        #expect(Disassembler().decode([0x7D, 0], at: 0, .real16).willBranch(file) == true)
    }

    @Test(
        arguments: [
            // LOOP, LOOPE, LOOPNE, JCXZ in 16-bit code; JECXZ; LOOP with ECX; LOOP and JRCXZ in 64-bit code.
            ("e200", DecodeMode.real16, 1 as UInt64, false, false), ("e200", .real16, 2, false, true),
            ("e200", .real16, 0, false, true), ("e200", .real16, 0x1_0001, false, false),
            ("e100", .real16, 2, true, true), ("e100", .real16, 2, false, false),
            ("e100", .real16, 1, true, false),
            ("e000", .real16, 2, false, true), ("e000", .real16, 2, true, false),
            ("e300", .real16, 0x1_0000, false, true), ("e300", .real16, 1, false, false),
            ("67e300", .real16, 0x1_0000, false, false), ("67e200", .real16, 0x1_0001, false, true),
            ("e200", .long64, 0x1_0000_0001, false, true), ("e300", .long64, 1 << 63, false, false),
            ("67e300", .long64, 1 << 63, false, true),
        ] as [(String, DecodeMode, UInt64, Bool, Bool)])
    func counters(hex: String, mode: DecodeMode, counter: UInt64, zero: Bool, taken: Bool) {
        var file = RegisterFile()
        file.general.rcx = counter
        if zero { file.general.rflags.insert(.zf) }
        #expect(Disassembler().decode(bytes(hex), at: 0, mode).willBranch(file) == taken)
    }

    @Test(
        arguments: [
            ("eb00", true as Bool?), ("e80000", true), ("c3", true), ("cf", true), ("cb", true),
            ("ffe0", true),
            ("90", nil),
            ("cd10", nil), ("f3a4", nil), ("f4", nil),
        ] as [(String, Bool?)])
    func unconditional(hex: String, taken: Bool?) {
        #expect(Disassembler().decode(bytes(hex), at: 0, .real16).willBranch(RegisterFile()) == taken)
    }

    @Test(
        arguments: [
            (0xFFFF as UInt64, DecodeMode.real16, 0 as UInt64), (0xFFFF_FFFF, .protected32, 0),
            (0xFFFF_FFFF, .long64, 0x1_0000_0000), (.max, .long64, 0), (0x1_0000, .real16, 0x1_0001),
        ] as [(UInt64, DecodeMode, UInt64)])
    func nextWraps(address: UInt64, mode: DecodeMode, next: UInt64) {
        #expect(Disassembler().decode([0x90], at: address, mode).next == next)
    }
}
