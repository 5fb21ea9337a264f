import Testing

@testable import Commands

@Suite struct TableTests {
    let table = CommandTable.standard

    @Test func noNameStandsTwice() {
        let names = table.commands.flatMap(\.names)
        #expect(Set(names).count == names.count)
    }

    @Test(arguments: CommandTable.standard.commands.map(\.name))
    func everyRowIsWhole(_ name: String) throws {
        let command = try #require(table.command(named: name))
        #expect(command.name == name)
        #expect(!command.summary.isEmpty)
        #expect(!command.summary.hasSuffix("."))
        #expect(command.summary.first?.isLowercase == true)
        if !command.details.isEmpty { #expect(command.details.hasSuffix(".")) }
        for alias in command.names {
            #expect(table.command(named: alias)?.name == name, "\(alias)")
        }
        for example in command.examples {
            let call = try Invocation(example.line, table: table)
            #expect(call.command.name == name, "\(example.line)")
        }
    }

    @Test(
        arguments: [
            ("s", "step"), ("si", "step"), ("ste", "step"), ("n", "next"), ("c", "continue"),
            ("cont", "continue"), ("b", "break"), ("d", "delete"), ("r", "info registers"),
            ("i r", "info registers"), ("inf reg", "info registers"), ("i b", "info breakpoints"),
            ("p", "print"), ("u", "disassemble"), ("disas", "disassemble"), ("dis", "disable"),
            ("info e", "info exits"), ("exits", "info exits"), ("exits r", "exits reset"),
            ("vcpu", "vcpu select"), ("vcpu l", "vcpu list"), ("cpu", "vcpu select"), ("q", "quit"),
            ("h", "help"), ("sregs", "sregs"), ("sregs set", "sregs set"), ("bpe", "enable"),
            ("info", "info"),
        ])
    func namesAndShortForms(_ typed: String, _ name: String) {
        #expect(table.command(named: typed)?.name == name)
    }

    @Test(arguments: ["de", "e", "st", "i v", "xyzzy", ""])
    func ambiguousAndUnknown(_ typed: String) {
        #expect(table.command(named: typed) == nil)
    }

    @Test(
        arguments: [
            ("contineu", "continue"), ("braek", "break"), ("stpe", "step"), ("quti", "quit"),
            ("disasemble", "disassemble"),
        ])
    func slipsAreGuessed(_ typed: String, _ meant: String) {
        #expect(throws: CommandError.self) { try Invocation(typed, table: table) }
        #expect(nearest(to: typed, in: table.firstWords) == meant)
    }

    @Test(
        arguments: [
            ("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 1), ("regs", "rges", 1),
        ])
    func distances(_ a: String, _ b: String, _ expected: Int) {
        #expect(editDistance(a, b) == expected)
        #expect(editDistance(b, a) == expected)
    }

    @Test func nothingFarIsGuessed() {
        #expect(nearest(to: "zzz", in: table.firstWords) == nil)
        #expect(nearest(to: String(repeating: "a", count: 100_000), in: table.firstWords) == nil)
    }
}
