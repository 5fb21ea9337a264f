import DebugTarget
import TargetConformance
import Testing
import X86

@testable import Debugger
@testable import Expressions

/// C's types, assignments, and what is remembered from one expression to the next.
@Suite struct ExpressionTypeTests {
    /// RAX 0xffffffffffffff88, EBX 0xffffffff, CX 0x8000, bytes 0x11 ... 0x88 0xFF at 0x1000.
    private func guest() throws -> Debugger {
        let (debugger, _) = try debugger()
        try debugger.setRegister("rax", to: 0xFFFF_FFFF_FFFF_FF88)
        try debugger.setRegister("rbx", to: 0xFFFF_FFFF)
        try debugger.setRegister("rcx", to: 0x8000)
        try debugger.writeMemory(.physical(0x1000), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0xFF])
        try debugger.writeMemory(.physical(0x1010), [0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00])
        return debugger
    }

    /// The expected bits are the value's own, extended to 64 as its sign says.
    @Test(
        arguments: [
            // A number takes the type of what it meets, if it fits there.
            ("$ebx == -1", 1, 32), ("$ebx + 1", 0, 32), ("$ebx + 0x100000000", 0x1_FFFF_FFFF, 64),
            ("0xfffff000 + 0x1000", 0x1_0000_0000, 64), ("1 << 40", 1 << 40, 64),
            ("(u32)1 << 40", 0, 32),
            // What is narrower than int becomes int.
            ("$al + $al", 0x110, 32), ("$al == 0x88", 1, 32), ("(s8)$al == -120", 1, 32),
            ("$cx - 0x8001", .max, 32),
            ("~$al", ~0x88, 32), ("-$al", UInt64(bitPattern: -0x88), 32),
            ("$cx << 16", 0xFFFF_FFFF_8000_0000, 32),
            ("($cx << 16) == 0x80000000", 1, 32), ("-1 < $al", 1, 32), ("-1 < $ebx", 0, 32),
            // The wider type wins, the unsigned one of two that are as wide.
            ("(s32)-1 < (u32)1", 0, 32), ("(s64)-1 < (u32)1", 1, 32), ("(s32)-1 + (u64)0", .max, 64),
            ("(s8)-1 * (s8)-1", 1, 32), ("(u32)-1 / 2", 0x7FFF_FFFF, 32),
            ("(s32)-8 >> 1", UInt64(bitPattern: -4), 32),
            ("(u32)-8 >> 28", 0xF, 32),
            // Types by every name.
            ("(unsigned char)0x1ff", 0xFF, 8), ("(signed char)0xff", .max, 8), ("(short)0xffff", .max, 16),
            ("(unsigned short int)-1", 0xFFFF, 16), ("(long long unsigned)-1", .max, 64),
            ("(unsigned)-1", 0xFFFF_FFFF, 32), ("(uint16_t)-1", 0xFFFF, 16), ("(int8_t)-1", .max, 8),
            ("(__u32)-1", 0xFFFF_FFFF, 32), ("(byte)-1", 0xFF, 8), ("(size_t)-1", .max, 64),
            ("sizeof(u16) + sizeof(long)", 10, 64), ("'A'", 65, 64), ("'\\n'", 10, 64), ("0x10ul", 16, 64),
            // Memory.
            ("{u16}0x1000", 0x2211, 16), ("{s8}0x1008", .max, 8), ("b:0x1001", 0x22, 8),
            ("w:0x1000", 0x2211, 16),
            ("d:0x1000", 0x4433_2211, 32), ("q:0x1000", 0x8877_6655_4433_2211, 64), ("b:100:1", 0x22, 8),
            ("((u16*)0x1000)[1]", 0x4433, 16), ("*((u16*)0x1000 + 1)", 0x4433, 16),
            ("*(u8*)((u16*)0x1000 + 1)", 0x33, 8), ("(u16*)0x1006 - (u16*)0x1000", 3, 64),
            ("**(u16**)0x1010", 0x2211, 16), ("(*(u8**)0x1010)[8]", 0xFF, 8),
            ("&*(u16*)0x1000 + 1", 0x1002, 64), ("&*(s8)1 + 64", 0x101, 64), ("&*(u8)0xff + 1", 0x103, 64),
            ("*(u8*)&*(u32*)0x1003", 0x44, 8), ("ss:[0x1000+1]", 0x1001, 64),
            // The rest of C.
            ("1 ? 2 : 3", 2, 64), ("0 ? 1 / 0 : 3", 3, 64), ("1 ? 0 ? 4 : 5 : 6", 5, 64),
            ("0 ? 1 : 0 ? 2 : 3", 3, 64),
            ("1, 2, 3", 3, 64), ("(1, 2) + 3", 5, 64), ("1 || 0 && 0", 1, 32), ("1 | 2 == 2", 1, 32),
        ] as [(String, UInt64, Int)])
    func hasCsTypes(_ text: String, _ bits: UInt64, _ width: Int) throws {
        let value = try guest().evaluate(text)
        #expect(value.bits == bits)
        #expect(value.width == width)
    }

    @Test func assigns() throws {
        let guest = try guest()
        #expect(try guest.evaluate("$n = 3").bits == 3)
        #expect(try guest.evaluate("$n *= $n + 1").bits == 12)
        #expect(try guest.evaluate("$n++ + ++$n").bits == 12 + 14)
        #expect(try guest.evaluate("$a = $b = 7, $a + $b").bits == 14)
        #expect(guest.convenienceVariables.map(\.name) == ["a", "b", "n"])
        #expect(try guest.evaluate("$rdx = $n").bits == 14)
        #expect(try guest.registerValue("rdx").bits == 14)
        #expect(try guest.evaluate("$dl++, $dx").bits == 15)
        #expect(try guest.evaluate("$al = -1").bits == 0xFF)
        #expect(try guest.evaluate("*(u16*)0x1000 = 0xbeef").bits == 0xBEEF)
        #expect(try guest.evaluate("b:0x1001 += 1").bits == 0xBF)
        #expect(try guest.evaluate("(*(u16*)0x1000)++").bits == 0xBFEF)
        #expect(try guest.evaluate("w:0x1000").bits == 0xBFF0)
    }

    @Test(arguments: [
        ("$nobody", 0), ("1 + $nobody", 4), ("$nobody += 1", 0), ("-$nobody", 1), ("$nobody ? 1 : 2", 0),
        ("$nobody++", 7), ("1 && $nobody", 5), ("*$nobody", 1), ("$al = 0x100", 0), ("b:0x1000 = 256", 0),
        ("&$rax", 0), ("&1", 0), ("(1)++", 3), ("$", 0), ("$$", 0), ("$7", 0), ("1 ? 2", 5), ("{u16", 4),
        ("{x}1", 1),
        ("1[2]", 1), ("''", 0), ("'ab", 0), ("(u8", 3), ("(unsigned u8)1", 1), ("sizeof(x)", 7),
        ("1 ? : 2", 4),
        ("1,", 2), ("++1", 0), ("[1]", 0), ("nowhere", 0), ("$xy:0", 0), ("'no such'", 0),
    ])
    func refuses(_ text: String, _ column: Int) throws {
        let guest = try guest()
        let error = try #require(debuggerError { _ = try guest.evaluate(text) })
        #expect(error.column == column, "\(error)")
    }

    @Test func remembersWhatWasPrinted() throws {
        let guest = try guest()
        for number in 1...4 {
            #expect(guest.remember(try guest.evaluate("\(number) * 11")) == number)
        }
        #expect(try guest.evaluate("$").bits == 44)
        #expect(try guest.evaluate("$$").bits == 33)
        #expect(try guest.evaluate("$$2").bits == 22)
        #expect(try guest.evaluate("$1 + 1").bits == 12)
        #expect(guest.remember(try guest.evaluate("(u8*)0x1000")) == 5)
        #expect(try guest.evaluate("*$").bits == 0x11)
    }

    /// As a breakpoint's condition is: with registers at hand, on whatever thread.
    @Test func isEvaluatedWithoutADebugger() throws {
        let guest = try guest()
        let snapshot = guest.selected
        func value(_ text: String) throws -> Value {
            try guest.expression(text)
                .evaluate(snapshot.registers, snapshot.special, memory: guest.target.memory)
        }
        #expect(try value("$cx == 0x8000 && *(u8*)0x1000 == 0x11").bits == 1)
        #expect(try value("{u8}100:8 == 255").bits == 1)
        #expect(try value("b:cs:7c00").bits == 0x90)
        _ = try guest.evaluate("$count = 0")
        let counting = try guest.expression("++$count >= 3")
        let hits = try (0..<4).map { _ in
            try counting.evaluate(snapshot.registers, snapshot.special, memory: guest.target.memory).isZero
        }
        #expect(hits == [true, true, false, false])
        #expect(!counting.changesGuest)
        #expect(try guest.expression("$rax = 1").changesGuest)
        #expect(debuggerError { _ = try value("$rax = 1") }?.code == .refused)
        #expect(debuggerError { _ = try value("*0x1000 = 1") }?.code == .refused)
        #expect(debuggerError { _ = try value("$dr7") }?.code == .refused)
        #expect(debuggerError { _ = try value("*0x10000000") }?.code == .unreadable)
        #expect(debuggerError { _ = try value("1 + 1 / 0") }?.column == 6)
    }

    @Test func lengthHasALimit() throws {
        let text = String(repeating: " ", count: Lexer.maximumLength) + "1"
        let guest = try guest()
        #expect(debuggerError { _ = try guest.evaluate(text) }?.code == .syntax)
    }
}
