import Debugger
import TargetConformance
import Testing
import X86

@testable import GDBRemote

@Suite struct ConditionTests {
    private let layout = RegisterLayout.of(.long64, hasAVX: false)

    private func value(_ code: [UInt8], rax: UInt64 = 0) throws -> UInt64 {
        var general = GeneralRegisters()
        general.rax = rax
        general.rip = 0x10
        var special = SpecialRegisters()
        special.cs = .real(0x7C0, code: true)
        let target = FakeTarget()
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(0x500), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])
        return try AgentExpression(code, layout).value(general, special, memory: debugger.memory)
    }

    @Test(
        arguments: [
            // const8 6; const8 7; mul; end
            ([0x22, 6, 0x22, 7, 0x04, 0x27], 42),
            // 7 - 9
            ([0x22, 7, 0x22, 9, 0x03, 0x27], UInt64(bitPattern: -2)),
            // const16 0x500; ref8, ref16, ref32, ref64
            ([0x23, 5, 0, 0x17, 0x27], 0x11), ([0x23, 5, 0, 0x18, 0x27], 0x2211),
            ([0x23, 5, 0, 0x19, 0x27], 0x4433_2211), ([0x23, 5, 0, 0x1A, 0x27], 0x8877_6655_4433_2211),
            // const32, const64
            ([0x24, 1, 2, 3, 4, 0x27], 0x0102_0304),
            ([0x25, 1, 2, 3, 4, 5, 6, 7, 8, 0x27], 0x0102_0304_0506_0708),
            // ext 8 and zero_ext 8 of 0x1FF
            ([0x23, 1, 0xFF, 0x16, 8, 0x27], UInt64.max), ([0x23, 1, 0xFF, 0x2A, 8, 0x27], 0xFF),
            // if_goto over `const8 1; end`
            ([0x22, 1, 0x20, 0, 8, 0x22, 1, 0x27, 0x22, 9, 0x27], 9),
            ([0x22, 0, 0x20, 0, 8, 0x22, 1, 0x27, 0x22, 9, 0x27], 1),
            // goto
            ([0x21, 0, 6, 0x22, 1, 0x27, 0x22, 9, 0x27], 9),
            // dup, swap, pick 1, rot, pop
            ([0x22, 3, 0x28, 0x02, 0x27], 6), ([0x22, 1, 0x22, 5, 0x2B, 0x03, 0x27], 4),
            ([0x22, 8, 0x22, 5, 0x32, 1, 0x27], 8), ([0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x27], 2),
            ([0x22, 8, 0x22, 5, 0x29, 0x27], 8),
            // log_not, bit_not, and, or, xor, equal, less
            ([0x22, 0, 0x0E, 0x27], 1), ([0x22, 0, 0x12, 0x27], UInt64.max),
            ([0x22, 12, 0x22, 10, 0x0F, 0x27], 8),
            ([0x22, 12, 0x22, 10, 0x10, 0x27], 14), ([0x22, 12, 0x22, 10, 0x11, 0x27], 6),
            ([0x22, 5, 0x22, 5, 0x13, 0x27], 1), ([0x22, 4, 0x22, 5, 0x14, 0x27], 1),
            // -1 < 0, with and without a sign
            ([0x22, 0xFF, 0x16, 8, 0x22, 0, 0x14, 0x27], 1), ([0x22, 0xFF, 0x16, 8, 0x22, 0, 0x15, 0x27], 0),
            // shifts of 64 and more
            ([0x22, 1, 0x22, 64, 0x09, 0x27], 0), ([0x22, 0x80, 0x16, 8, 0x22, 200, 0x0A, 0x27], UInt64.max),
            ([0x22, 0x80, 0x16, 8, 0x22, 60, 0x0B, 0x27], 15),
            // divisions, with and without a sign
            ([0x22, 0xF9, 0x16, 8, 0x22, 2, 0x05, 0x27], UInt64(bitPattern: -3)),
            ([0x22, 7, 0x22, 2, 0x06, 0x27], 3),
            ([0x22, 0xF9, 0x16, 8, 0x22, 2, 0x07, 0x27], UInt64(bitPattern: -1)),
            ([0x22, 7, 0x22, 4, 0x08, 0x27], 3),
            // reg 0 is RAX, reg 16 the linear place
            ([0x26, 0, 0, 0x27], 77), ([0x26, 0, 16, 0x27], 0x7C10),
        ] as [([UInt8], UInt64)])
    func values(_ code: [UInt8], _ expected: UInt64) throws {
        #expect(try value(code, rax: 77) == expected)
    }

    @Test(
        arguments: [
            [], [0xFF], [0x22], [0x24, 1, 2, 3], [0x26, 0], [0x20, 0, 1, 0x22, 1, 0x27],
            // A jump into an operand, beyond the end, and a register that no exit brings.
            [0x21, 0, 4, 0x22, 1, 0x27], [0x21, 0xFF, 0xFF, 0x27], [0x26, 0, 30, 0x27],
            [0x26, 0xFF, 0xFF, 0x27],
            [UInt8](repeating: 0x27, count: 5000),
        ] as [[UInt8]])
    func whatIsNoExpressionIsRefused(_ code: [UInt8]) {
        #expect(throws: RemoteFailure.self) { try AgentExpression(code, layout) }
    }

    @Test(
        arguments: [
            [0x27], [0x02, 0x27], [0x22, 1, 0x02, 0x27], [0x22, 1], [0x32, 0, 0x27],
            // Without an end, a stack without an end, a division by zero, and memory that is not there.
            [0x21, 0, 0], [0x22, 1, 0x21, 0, 0], [0x22, 1, 0x22, 0, 0x05, 0x27],
            [0x25, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0, 0x1A, 0x27],
        ] as [[UInt8]])
    func whatCannotBeEvaluatedSaysSo(_ code: [UInt8]) {
        #expect(throws: DebuggerError.self) { try value(code) }
    }
}
