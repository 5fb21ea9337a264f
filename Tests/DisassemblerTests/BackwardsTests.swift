import Disassembler
import Testing
import X86

@Suite struct BackwardsTests {
    /// Code as a boot sector has it, each instruction's bytes apart.
    static let code = [
        "fa", "31c0", "8ed8", "8ec0", "8ed0", "bc007c", "fb", "be007c", "bf0006", "b90001", "f3a5",
        "ea1d060000",
        "b80102", "bb007e", "b90200", "ba8000", "cd13", "7205", "b44c", "e80300", "ebfe", "f4",
        "660f01162000", "0f20c0", "6683c801", "0f22c0", "66ea0080000008 00",
    ].map { bytes($0) }

    /// From every boundary but the first few, where there is too little before to fall into step, the same
    /// instructions are found that decoding forward gives.
    @Test(arguments: 8...27) func findsTheRealBoundaries(count: Int) {
        let before = Array(Self.code.prefix(count).joined())
        let found = Disassembler().decodeBackwards(before, at: 0x7C00, .real16, count: 4)
        let forward = Disassembler().decode(before, at: 0x7C00, .real16, count: 100)
        #expect(found == Array(forward.suffix(4)))
        #expect(found.map(\.bytes) == Array(Self.code.prefix(count).suffix(4)))
    }

    @Test func allOfIt() {
        let before = Array(Self.code.joined())
        let found = Disassembler().decodeBackwards(before, at: 0x7C00, .real16, count: 1000)
        #expect(Array(found.map(\.bytes).joined()) == before)
        #expect(found.first?.address == 0x7C00)
    }

    @Test func nothingBefore() {
        #expect(Disassembler().decodeBackwards([], at: 0, .long64, count: 5).isEmpty)
        #expect(Disassembler().decodeBackwards([0x90], at: 0, .long64, count: 0).isEmpty)
    }

    @Test func whatIsNoInstructionIsBad() {
        // 0x60 is no instruction of 64-bit mode.
        let found = Disassembler().decodeBackwards([0x60, 0x60], at: 0x10, .long64, count: 5)
        #expect(found.map(\.text) == ["(bad)", "(bad)"])
        #expect(found.map(\.address) == [0x10, 0x11])
    }

    /// Whatever the bytes, the instructions follow each other and end where the bytes do.
    @Test(arguments: DecodeMode.allCases) func anyBytes(mode: DecodeMode) {
        var state: UInt32 = 7
        for round in 0..<200 {
            let before = (0..<80).map { _ -> UInt8 in
                // A linear congruential generator (Numerical Recipes).
                state = state &* 1_664_525 &+ 1_013_904_223
                return UInt8(truncatingIfNeeded: state >> 24)
            }
            let found = Disassembler().decodeBackwards(before, at: 0x100, mode, count: 6)
            #expect(found.count == 6, "round \(round)")
            #expect(
                Array(found.map(\.bytes).joined()) == Array(before.suffix(found.map(\.length).reduce(0, +))))
            #expect(found.last?.next == 0x100 + 80)
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.next == $1.address })
        }
    }
}
