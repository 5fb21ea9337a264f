import Debugger
import Expressions
import TargetConformance
import Testing
import X86

@Suite struct ExpressionTests {
    /// RAX 0x1122334455667788, BX 0x10, CS = 0x7C0, bytes 0x11 0x22 ... 0x88 0xFF at 0x1000.
    private func guest() throws -> Debugger {
        let (debugger, _) = try debugger()
        try debugger.setRegister("rax", to: 0x1122_3344_5566_7788)
        try debugger.setRegister("rbx", to: 0x10)
        try debugger.setRegister("cs", to: 0x7C0)
        try debugger.setRegister("rip", to: 0x12)
        try debugger.writeMemory(.physical(0x1000), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0xFF])
        return debugger
    }

    @Test(
        arguments: [
            ("31", 31), ("0x1f", 31), ("1fh", 31), ("0b11111", 31), ("037", 31), ("0", 0), ("7c00h", 0x7C00),
            ("0xffffffffffffffff", UInt64.max), ("18446744073709551615", .max),
            ("$rax", 0x1122_3344_5566_7788), ("RAX", 0x1122_3344_5566_7788), ("$al", 0x88), ("ah", 0x77),
            ("cs.base", 0x7C00), ("$pc", 0x12), ("cr0.pe", 0),
            ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("10 - 4 - 3", 3), ("100 / 7 % 4", 2), ("1 << 4 + 1", 32),
            ("0xf0 | 0xf & 3", 0xF3), ("6 ^ 3 & 1", 7), ("5 & 3 == 3", 1), ("1 < 2 == 1", 1),
            ("~0", .max), ("-1", .max), ("!5", 0), ("!0", 1), ("- -5", 5), ("~~7", 7), ("+5", 5),
            ("-1 < 1", 1), ("-1 < $bx", 1), ("-1 < $rax", 0), ("-8 / 3", UInt64(bitPattern: -2)),
            ("-8 % 3", UInt64(bitPattern: -2)),
            ("-8 >> 1", UInt64(bitPattern: -4)), ("0xffffffffffffffff >> 63", 1), ("1 << 64", 0),
            ("1 >> 64", 0),
            ("-1 >> 200", .max), ("0 && 1 / 0", 0), ("1 || 1 / 0", 1), ("2 && 3", 1), ("0 || 0", 0),
            ("1 || *0xffffffff", 1),
            ("0x7fffffffffffffff + 1", 1 << 63), ("-9223372036854775807 - 1", 1 << 63),
            ("(-9223372036854775807 - 1) / -1", 1 << 63), ("(-9223372036854775807 - 1) % -1", 0),
            ("*0x1000", 0x4433_2211), ("*(u8*)0x1000", 0x11), ("*(u16 *)0x1001", 0x3322),
            ("*(u64*)0x1000", 0x8877_6655_4433_2211), ("*(s8*)0x1008", .max), ("*(u8*)0x1008", 0xFF),
            ("*(unsigned char*)0x1008", 0xFF), ("*(u8*)(0x1000 + 1)", 0x22), ("*(u8*)0x1000 + 1", 0x12),
            ("(s8)0xff", .max), ("(u8)0x1ff", 0xFF), ("(u16)$rax", 0x7788),
            ("cs:ip", 0x12), ("*(u8*)100:0", 0x11), ("*(u8*)p:0x1002", 0x33), ("*(u8*)v:0x1002", 0x33),
        ] as [(String, UInt64)])
    func comesTo(_ text: String, _ value: UInt64) throws {
        #expect(try guest().evaluate(text).bits == value)
    }

    /// A colon that a `?` waits for is none of SEG:OFF; one more than that is.
    @Test(
        "`?:` needs no spaces, and SEG:OFF stands beside it",
        arguments: [
            ("1?2:3", 2), ("0?2:3", 3), ("0?2:$bx", 0x10), ("1?$bx:3", 0x10), ("0?1:0?2:3", 3),
            ("1?0?5:6:7", 6),
            ("(0?2:3)+1", 4), ("1 ? 2 : 3", 2), ("0 ? 2 :3", 3), ("1,0?2:3", 3),
            ("$bx==0x10?0x20:0x30", 0x20),
            ("1?w:0x1000:3", 0x2211), ("1 ? 7c0:12 : 3", 0x12), ("0 ? 3 : 7c0:12", 0x12), ("cs:ip?4:5", 4),
            ("0?2:(7c0:12)", 0x12), ("w:ds:[0?2:0x1000]", 0x2211),
        ] as [(String, UInt64)])
    func conditionalsWithoutSpaces(_ text: String, _ value: UInt64) throws {
        #expect(try guest().evaluate(text).bits == value)
    }

    @Test func conditionalsOfAnyLengthAreRead() throws {
        let text = String(repeating: "0?1:", count: 90) + "7"
        #expect(try guest().evaluate(text).bits == 7)
        // Too deep, and an error after a time that its length allows.
        let long = String(repeating: "0?1:", count: 200_000) + "7"
        #expect(debuggerError { _ = try guest().evaluate(long) }?.code == .syntax)
    }

    @Test func theFPUsRegistersAreNumbers() throws {
        let guest = try guest()
        var fpu = try guest.fpu()
        fpu.mxcsr = 0x1FA0
        fpu.controlWord = 0x27F
        fpu.statusWord = 0x3800
        fpu.tagWord = 0x81
        try guest.setFPU(fpu)
        for (text, value) in [
            ("$mxcsr", 0x1FA0), ("mxcsr & 0x20", 0x20), ("$fctrl", 0x27F), ("fcw", 0x27F),
            ("$fstat >> 11", 7),
            ("$ftag", 0x81),
        ] as [(String, UInt64)] { #expect(try guest.evaluate(text).bits == value) }
        #expect(try guest.evaluate("$mxcsr").width == 32)
        let wide = try #require(debuggerError { _ = try guest.evaluate("1 + $xmm0") })
        #expect(wide.column == 4 && wide.remedy == "it can only stand alone, as $xmm0")
        #expect(debuggerError { try guest.checkCondition("$mxcsr == 0x1f80") }?.code == .refused)
        // What is no register of the FPU is a variable.
        #expect(debuggerError { _ = try guest.evaluate("$xmm16") }?.code == .unknownName)
    }

    @Test(arguments: [
        ("", 0), ("   ", 3), ("1 +", 3), ("(1", 2), ("1)", 1), ("1 2", 2), ("$rxa + 1", 0), ("1 + bogus", 4),
        ("1 / 0", 2), ("3 + 1 % (2 - 2)", 6), ("0x", 0), ("0xg", 0), ("12ab", 0), ("089", 0),
        ("99999999999999999999", 0),
        ("1 # 2", 2), ("* ", 2), ("*(u8*)0x10000000", 0), ("1 + *0x10000000", 4), ("f0000:0", 0), ("0:", 2),
        ("(u8", 3),
        ("1 = 2", 2), ("é", 0), ("'é' + é", 6),
    ])
    func complainsAtTheColumn(_ text: String, _ column: Int) throws {
        let guest = try guest()
        let error = try #require(debuggerError { _ = try guest.evaluate(text) })
        #expect(error.column == column, "\(error)")
    }

    @Test(
        "an address that can only be hexadecimal needs no 0x; what is a number is one",
        arguments: [
            ("7c00", 0x7C00), ("a000", 0xA000), (" 0f000 ", 0xF000), ("FEE00000", 0xFEE0_0000),
            ("1e5", 0x1E5),
            ("10b", 0x10B), ("100", 100), ("9000", 9000), ("0b101", 5), ("010", 8), ("7c00h", 0x7C00),
            ("0x7c00", 0x7C00),
        ] as [(String, UInt64)])
    func bareAddress(_ text: String, _ value: UInt64) throws {
        #expect(try guest().address(text) == .linear(value))
    }

    @Test(
        "what is no address by itself is none",
        arguments: ["dead", "7g00", "089", "12345678123456781a", "7c00 + 1", "-7c00", "7c00 7c01", "é7c"])
    func noBareAddress(_ text: String) throws {
        let guest = try guest()
        #expect(throws: DebuggerError.self) { try guest.address(text) }
    }

    @Test func anExpressionNeedsThePrefix() throws {
        let guest = try guest()
        let error = try #require(debuggerError { _ = try guest.evaluate("7c00") })
        #expect(error.message.contains("0x7c00"))
    }

    @Test func suggestsWhatWasMeant() throws {
        let guest = try guest()
        let error = try #require(debuggerError { _ = try guest.evaluate("$raz") })
        #expect(error.code == .unknownName)
        #expect(error.remedy?.contains("rax") == true)
        let hexadecimal = try #require(debuggerError { _ = try guest.evaluate("12ab") })
        #expect(hexadecimal.message.contains("0x12ab"))
    }

    /// No input overflows the stack.
    @Test(arguments: ["(", "-", "~", "*", "!", "(u8)", "1+(", "p:", "0:("])
    func anyDepthIsAnError(_ unit: String) throws {
        let guest = try guest()
        let text = String(repeating: unit, count: 100_000) + "1"
        #expect(debuggerError { _ = try guest.evaluate(text) }?.code == .syntax)
    }

    @Test func anyLengthIsFine() throws {
        let text = String(repeating: "1 + ", count: 100_000) + "1"
        #expect(try guest().evaluate(text).bits == 100_001)
    }

    @Test(
        arguments: [
            ("0x7c00", Address.linear(0x7C00)), ("p:0x10", .physical(0x10)), ("v:0x10", .virtual(0x10)),
            ("f000:fff0", .segmented(.selector(0xF000), offset: 0xFFF0)),
            ("0x0:0x7c00", .segmented(.selector(0), offset: 0x7C00)),
            ("cs:ip", .segmented(.register(.cs), offset: 0x12)),
            ("$cs:$bx", .segmented(.register(.cs), offset: 0x10)),
            ("07c0:10 + 4", .segmented(.selector(0x7C0), offset: 0x14)), ("4 + p:0x10", .physical(0x14)),
            ("p:0x10 - 1", .physical(0xF)), ("$bx + 1", .linear(0x11)),
        ] as [(String, Address)])
    func keepsTheFormOfAnAddress(_ text: String, _ address: Address) throws {
        #expect(try guest().address(text) == address)
    }

    @Test func widthIsThatOfTheRegister() throws {
        let guest = try guest()
        #expect(try guest.evaluate("$al").width == 8)
        #expect(try guest.evaluate("ax").width == 16)
        #expect(try guest.evaluate("*(u32*)0x1000").width == 32)
        #expect(try guest.evaluate("1").width == 64)
    }
}
