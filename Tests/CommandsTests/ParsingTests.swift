import Testing

@testable import Commands

@Suite struct ParsingTests {
    let table = CommandTable.standard

    func parse(_ line: String) throws -> Invocation { try Invocation(line, table: table) }

    @Test(
        arguments: [
            ("x/4i $rip", "x", "4i", "$rip", 5), ("x /16bx 0x7c00", "x", "16bx", "0x7c00", 8),
            ("  p/x  1 + 2  ", "print", "x", "1 + 2", 7),
            ("info registers rax", "info registers", nil, "rax", 15),
            ("i r", "info registers", nil, "", 3), ("set $rax = 5", "set", nil, "$rax = 5", 4),
            ("vcpu create 3 at 0x8000", "vcpu create", nil, "3 at 0x8000", 12), ("x/8xb", "x", "8xb", "", 5),
            ("disassemble/5", "disassemble", "5", "", 13), ("\tregs", "info registers", nil, "", 5),
            ("source /tmp/a", "source", nil, "/tmp/a", 7),
        ] as [(String, String, String?, String, Int)])
    func takenApart(_ line: String, _ name: String, _ format: String?, _ rest: String, _ column: Int) throws {
        let call = try parse(line)
        #expect(call.command.name == name)
        #expect(call.format?.text == format)
        #expect(call.rest == Argument(text: rest, column: column))
    }

    @Test(
        arguments: [
            ("nonsense 1", 0), ("  vcpux 1", 2), ("regs/x", 4), ("info", nil), ("vcpu list extra", nil),
        ] as [(String, Int?)])
    func caretsOfNames(_ line: String, _ column: Int?) throws {
        do {
            _ = try parse(line)
            #expect(column == nil)
        } catch let error as CommandError {
            #expect(error.column == column)
        }
    }

    @Test func wordsAreSplitOutsideOfParenthesesAndQuotes() {
        let words = split(Argument(text: "\"a b\" (1 + 2) c\"d e\"  f", column: 10))
        #expect(words.map(\.text) == ["a b", "(1 + 2)", "c\"d e\"", "f"])
        #expect(words.map(\.column) == [11, 16, 24, 32])
        #expect(words.map(\.isQuoted) == [true, false, false, false])
        #expect(words.map(\.start) == [10, 16, 24, 32] && words.map(\.end) == [15, 23, 30, 33])
    }

    @Test(arguments: ["(", "((((", "\"", ")", "a) b", "\"a b"])
    func unbalancedTextIsNoCrash(_ text: String) {
        #expect(!split(Argument(text: text, column: 0)).isEmpty)
    }

    @Test(
        arguments: [
            ("16xb", 16, .hex, .byte), ("bx16", nil, nil, nil), ("4i", 4, .instruction, nil),
            ("g", nil, nil, .giant),
            ("t", nil, .binary, nil), ("2s", 2, .string, nil), ("1048576x", 1_048_576, .hex, nil),
        ] as [(String, Int?, DisplayFormat.Letter?, DisplayFormat.Unit?)])
    func formats(
        _ text: String, _ count: Int?, _ letter: DisplayFormat.Letter?, _ unit: DisplayFormat.Unit?
    ) throws {
        let call = try parse("x/\(text) 0")
        guard text != "bx16" else {
            #expect(throws: CommandError.self) { try DisplayFormat(call.format, in: call) }
            return
        }
        let format = try DisplayFormat(call.format, in: call)
        #expect(format == DisplayFormat(count: count, letter: letter, unit: unit))
    }

    @Test(arguments: [
        ("4q", 3), ("0x", 2), ("99999999999999999999x", 2), ("xx", 3), ("1048577b", 2), ("b4", 3),
    ])
    func badFormatsHaveACaret(_ text: String, _ column: Int) throws {
        let call = try parse("x/\(text) 0")
        let error = #expect(throws: CommandError.self) { try DisplayFormat(call.format, in: call) }
        #expect(error?.column == column)
    }

    @Test(
        arguments: [
            (.hex, 0xFF, 2, "0x00ff"), (.signed, 0xFF, 1, "-1"), (.signed, 0x80, 2, "128"),
            (.unsigned, 0xFFFF, 1, "255"),
            (.octal, 8, 1, "010"), (.octal, 0, 1, "0"), (.binary, 5, 1, "00000101"),
            (.character, 0x41, 1, "65 'A'"),
            (.character, 0x1B, 1, "27 '\\033'"), (.character, 0xFF, 1, "-1 '\\377'"),
            (.signed, .max, 8, "-1"), (.hex, .max, 8, "0xffffffffffffffff"),
        ] as [(DisplayFormat.Letter, UInt64, Int, String)])
    func values(_ letter: DisplayFormat.Letter, _ value: UInt64, _ bytes: Int, _ expected: String) {
        #expect(letter.text(value, bytes: bytes) == expected)
    }

    @Test(
        arguments: [
            ("set $rax = 5", "$rax", "5", 4, 11), ("set rax=5", "rax", "5", 4, 8),
            ("set rax 5", "rax", "5", 4, 8),
            ("set zf = $rax == 5", "zf", "$rax == 5", 4, 9), ("set var $rax = 1", "$rax", "1", 8, 15),
        ])
    func assignments(_ line: String, _ left: String, _ right: String, _ a: Int, _ b: Int) throws {
        let (name, value) = try RegisterActions.assignment(try parse(line))
        #expect(name == Argument(text: left, column: a))
        #expect(value == Argument(text: right, column: b))
    }

    @Test(arguments: ["set", "set rax", "set = 5", "set rax =", "set rax == 5 =="])
    func badAssignments(_ line: String) throws {
        let call = try parse(line)
        if line == "set rax == 5 ==" {
            // `set REG VALUE` with a comparison as the value: the value's own fault is found when it is read.
            #expect(try RegisterActions.assignment(call).0.text == "rax")
        } else {
            #expect(throws: CommandError.self) { try RegisterActions.assignment(call) }
        }
    }
}
