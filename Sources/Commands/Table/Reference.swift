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

    /// The table as a page of the manual, `CommandReference.md`: Markdown as code hosts and DocC show it.
    ///
    /// `KVMSCOPE_RECORD=1 swift test --filter ReferenceTests` writes the page after a change.
    var reference: String {
        var text = """
            # Commands

            Every command, by subject.

            ## Overview

            <!-- Written by: KVMSCOPE_RECORD=1 swift test --filter ReferenceTests. Edit the command table in Sources/Commands. -->

            Names can be cut short as long as they stay unambiguous; Enter repeats those marked ↵. `/FMT` is a \
            count, a format (x d u o t c a s i) and a unit (b h w g), as in GDB. Those marked ▶ work while the \
            guest runs. `help COMMAND` has details and examples.


            """
        for category in Command.Category.allCases {
            text += "## \(category.rawValue)\n\n| command | also | what it does |\n|---|---|---|\n"
            for command in commands where command.category == category {
                let marks = (command.isRepeatable ? " ↵" : "") + (command.worksWhileRunning ? " ▶" : "")
                let aliases = command.aliases.map { "`\($0)`" }.joined(separator: " ")
                let cells = ["`\(command.usage)`\(marks)", aliases, command.summary].map(\.tableCell)
                text += "| " + cells.joined(separator: " | ") + " |\n"
            }
            text += "\n"
        }
        return String(text.dropLast())
    }
}

extension String {
    /// The text as a cell of a Markdown table, where `|` ends a cell even within a code span.
    package var tableCell: String { replacing("|", with: "\\|") }
}
