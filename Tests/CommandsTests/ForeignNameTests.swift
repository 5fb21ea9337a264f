import Testing

@testable import Commands

/// What users of other debuggers type.
@Suite struct ForeignNameTests {
    private let table = CommandTable.standard

    /// Every name that a sentence or an alias mentions is a command, and no entry is shadowed by one.
    @Test func whatIsNamedIsThere() {
        for (word, foreign) in Array(ForeignName.all) + ForeignName.info.map({ ("info " + $0, $1) })
            + ForeignName.show.map({ ("show " + $0, $1) })
        {
            #expect(!table.commands.contains { $0.names.contains(word) }, "\(word) is a command here")
            switch foreign {
            case .same(let name): #expect(table.command(named: name) != nil, "\(word): \(name)")
            case .told(let sentence):
                let quoted = sentence.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                    .filter { $0.offset % 2 == 1 }.map { String($0.element) }
                for command in quoted where !command.hasPrefix("kvmscope") {
                    let words = command.split(separator: " ").map(String.init)
                    let first = words[0].split(separator: "/").first.map(String.init) ?? ""
                    let both = words.count > 1 ? first + " " + words[1] : first
                    #expect(
                        table.command(named: both) != nil || table.command(named: first) != nil,
                        "\(word): \(command)")
                }
            }
        }
    }

    @Test(arguments: ["bl", "bp", "be", "bd", "g", "t", "k", "nearpc", "threads", "info break"])
    func aliasesAreCommands(_ line: String) throws {
        let words = line.split(separator: " ").map { CommandTable.Word(text: String($0), column: 0) }
        let (command, used) = try table.resolve(words, line: line)
        #expect(used == words.count)
        #expect(!command.names.contains(line))
    }

    @Test(arguments: [
        ("dd", "`x/8xw ADDR`"), ("vmmap", "`info mem`"), ("rwatch", "`watch r ADDR`"),
        ("info frame", "`backtrace`"),
    ])
    func othersAreTold(_ line: String, _ told: String) {
        let words = line.split(separator: " ").map { CommandTable.Word(text: String($0), column: 0) }
        let error = #expect(throws: CommandError.self) { try table.resolve(words, line: line) }
        #expect(error?.remedy?.contains(told) == true, "\(error?.remedy ?? "-")")
        #expect(error?.suggestion == nil)
    }

    /// A slip of the finger is never turned into a command that ends or deletes something.
    @Test(arguments: ["delte", "qiut", "dettach", "dl", "exti", "unwtch"])
    func nothingThatDeletesIsSuggested(_ word: String) {
        let error = #expect(throws: CommandError.self) {
            try table.resolve([CommandTable.Word(text: word, column: 0)], line: word)
        }
        let suggested = error?.suggestion.flatMap { table.command(named: $0) }
        for name in ["delete", "quit", "detach", "unwatch", "undisplay"] {
            #expect(suggested?.names.contains(name) != true, "\(word)")
        }
    }
}
