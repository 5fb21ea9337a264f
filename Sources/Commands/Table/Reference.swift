extension CommandTable {
    /// Every name of every command.
    var allNames: [String] { commands.flatMap(\.names) }

    /// The commands with a name of two words whose first is `word` or a short form of it.
    func commands(under word: String) -> [Command] {
        let seconds = Set(secondWords(after: word))
        guard !seconds.isEmpty else { return [] }
        return commands.filter { command in
            command.names.contains { name in
                let words = name.split(separator: " ")
                return words.count == 2 && words[0].hasPrefix(word) && seconds.contains(String(words[1]))
            }
        }
    }

    /// The table as Markdown, as README carries it.
    public var reference: String {
        var text = """
            Names can be cut short as long as they stay unambiguous; Enter repeats those marked ↵. `/FMT` is a \
            count, a format (x d u o t c a s i) and a unit (b h w g), as in GDB. Those marked ▶ work while the \
            guest runs.


            """
        for category in Command.Category.allCases {
            text += "### \(category.rawValue)\n\n| command | also | what it does |\n|---|---|---|\n"
            for command in commands where command.category == category {
                let marks = (command.isRepeatable ? " ↵" : "") + (command.worksWhileRunning ? " ▶" : "")
                let aliases = command.aliases.map { "`\($0)`" }.joined(separator: " ")
                text += "| `\(command.usage)`\(marks) | \(aliases) | \(command.summary) |\n"
            }
            text += "\n"
        }
        return text
    }
}
