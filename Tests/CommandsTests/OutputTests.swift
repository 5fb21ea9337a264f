import Debugger
import Disassembler
import KVMCore
import Testing

@testable import Commands

@Suite struct OutputTests {
    @Test func guestTextCannotDriveTheTerminal() {
        #expect("a\u{1B}[2Jb\u{7F}\u{9B}".printable == "a\\x1b[2Jb\\x7f\\x9b")
        let console = ConsolesOutput.Console(name: "e9", total: 16, text: "one\r\ntwo\n\u{07}three\r")
        let lines = ConsolesOutput(consoles: [console]).lines(width: 80).map(\.text)
        #expect(lines == ["e9: 16 bytes", "  one", "  two", "  \\x07three"])
        #expect(consoleLines("") == [])
    }

    @Test func spansJoinAndRender() {
        var line = StyledLine("a")
        line.append("b")
        line.append("c", .error)
        line.append("")
        #expect(line.spans.count == 2)
        #expect(line.rendered(color: false) == "abc")
        #expect(line.rendered(color: true) == "ab\u{1B}[1;31mc\u{1B}[0m")
        line.pad(to: 6)
        #expect(line.text == "abc   ")
        line.pad(to: 2)
        #expect(line.text == "abc    ")
    }

    @Test(
        arguments: [
            (0, "0 ns"), (999, "999 ns"), (1000, "1.00 us"), (1049, "1.04 us"), (12_345, "12.3 us"),
            (123_456, "123 us"), (1_500_000, "1.50 ms"), (61_000_000_000, "61.0 s"), (.max, "18446744073 s"),
        ] as [(UInt64, String)])
    func times(_ nanoseconds: UInt64, _ expected: String) {
        #expect(shortTime(nanoseconds) == expected)
    }

    @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (-1000, "-1,000")])
    func groups(_ number: Int, _ expected: String) {
        #expect(grouped(number) == expected)
    }

    @Test func columnsAlign() {
        var table = TextTable(["A", "Count"], rightAligned: [1])
        table.add([.init("long name"), .init("1")])
        table.add([.init("b"), .init("1,000")])
        #expect(table.lines.map(\.text) == ["A          Count", "long name      1", "b          1,000"])
    }

    @Test func columnsAreLeftOutWhereThereIsNoRoom() {
        var table = TextTable(["A", "Bb", "Count", "D"], rightAligned: [2])
        table.add([.init("漢"), .init("b"), .init("1"), .init("d")])
        func texts(_ width: Int) -> [String] {
            table.lines(width: width, dropping: [2, 0]).map(\.text)
        }
        #expect(texts(16) == ["A   Bb  Count  D", "漢  b       1  d"])
        #expect(texts(15) == ["A   Bb  D", "漢  b   d", "no room for: Count"])
        #expect(texts(9) == texts(15) && texts(8) == ["Bb  D", "b   d", "no room for: A, Count"])
        #expect(texts(0) == texts(8))
    }

    @Test func meaningsStandBesideOrBelow() {
        let meaning = "fpu vme de pse tsc msr pae mce cx8 apic"
        let output = FieldsOutput(
            "T", fields: [.init("eax", Hex(0x1234), meaning), .init("ebx", Hex(1), "sse")])
        let wide = output.lines(width: 80).map(\.text)
        #expect(wide.count == 3 && wide[1].hasSuffix("  " + meaning))
        let narrow = output.lines(width: 35).map(\.text)
        #expect(narrow.allSatisfy { $0.columns <= 35 }, "\(narrow)")
        #expect(narrow[2] == "   fpu vme de pse tsc msr pae mce")
        #expect(narrow[3] == "   cx8 apic" && narrow[4].hasSuffix("  sse"))
    }

    @Test func errorsPointAtThePlace() {
        let error = CommandError(
            "no such thing", line: "p\t$foo + 1", column: 2, suggestion: "$fs", remedy: "try it")
        #expect(
            error.lines(width: 80).map(\.text) == [
                "error: no such thing", "  p $foo + 1", "    ^", "did you mean `$fs`?", "try it",
            ])
        #expect(error.description == "no such thing; did you mean `$fs`?; try it")
        // A caret after the line's end, and an escape before it, move with what is shown.
        let end = CommandError("unfinished", line: "p \u{1B}(", column: 4)
        #expect(end.lines(width: 80).map(\.text)[1...] == ["  p \\x1b(", "         ^"])
    }

    @Test func recordsAreStable() {
        #expect(
            JSONRecord.line(command: "a \"b\" /c", result: Message("x\ny"))
                == #"{"command":"a \"b\" /c","ok":true,"result":{"message":"x\ny"}}"#)
        #expect(
            JSONRecord.line(command: "p", error: CommandError("bad", column: 3, suggestion: "q"))
                == #"{"command":"p","error":{"column":3,"message":"bad","suggestion":"q"},"ok":false}"#)
        #expect(
            JSONRecord.line(command: "", result: Silence()) == #"{"command":"","ok":true,"result":{}}"#)
    }

    @Test func textWraps() {
        #expect(wrapped("aa bb cc", 5) == ["aa bb", "cc"])
        #expect(wrapped("aaaaaaaa b", 3) == ["aaaaaaaa", "b"])
        #expect(wrapped("", 10) == [])
    }

    /// An INT in protected mode, which KVM's emulator does not have, is told from other failures.
    @Test(arguments: [
        (
            InternalErrorCause.Kind.notEmulated,
            "emulator lacks `iretd` (bytes cf, from the exit) in this mode"
        ),
        (.deviceAccess(gpa: 0xFEE0_0000), "accesses 0xfee00000, where no memory is"),
        (.noInstruction, "is no instruction of this mode"), (.zeros, "is zeros"),
        (.noMemory(linear: 0x10, gpa: 0x20), "no memory at physical 0x20"),
        (.noMemory(linear: 0x10, gpa: nil), "No page maps 0x10"),
        (.simultaneous(first: 14, second: 13), "#GP general protection came while #PF page fault"),
        (.delivery(vector: 8, hardwareReason: 48), "exit reason 48 while #DF double fault was delivered"),
        (.exitReason(0x99), "exit reason 0x99"),
    ])
    func internalErrorsAreExplained(_ kind: InternalErrorCause.Kind, _ words: String) {
        let instruction = Disassembler().decode([0xCF], at: 0x7C00, .protected32)
        let cause = InternalErrorCause(
            kind: kind, code: CodeLine(address: 0x7C00, selector: 8, ip: 0x7C00, instruction: instruction),
            isFromExit: true)
        #expect(cause.text(inRealMode: false).contains(words), "\(cause.text(inRealMode: false))")
    }
}
