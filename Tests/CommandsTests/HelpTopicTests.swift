import Testing

@testable import Commands

@Suite struct HelpTopicTests {
    private let table = CommandTable.standard

    @Test func theTopicsAreThere() {
        let names = HelpTopic.all.map(\.name)
        #expect(names == ["stepping", "addresses", "breakpoints", "attach", "scripts", "bochs", "gdb"])
        // None hides a command, and no word means two.
        let words = HelpTopic.all.flatMap { [$0.name] + $0.aliases }
        #expect(Set(words).count == words.count)
        #expect(Set(words).isDisjoint(with: table.allNames))
    }

    /// What a topic gives as a line, or names, is there under that name.
    @Test(arguments: HelpTopic.all.map(\.name))
    func examplesAndCommandsAreReal(_ name: String) throws {
        let topic = try #require(HelpTopic.named(name))
        #expect(!topic.summary.hasSuffix(".") && topic.paragraphs.allSatisfy { $0.hasSuffix(".") })
        #expect(!topic.examples.isEmpty && !topic.commands.isEmpty)
        for example in topic.examples {
            #expect(throws: Never.self, "\(example.line)") { try Invocation(example.line, table: table) }
        }
        for command in topic.commands {
            #expect(table.commands.contains { $0.names.contains(command) }, "\(command)")
        }
        for paragraph in topic.paragraphs {
            // Each command that the text names, as `set step-interrupts on`.
            for (index, span) in paragraph.split(separator: "`", omittingEmptySubsequences: false)
                .enumerated()
            where index % 2 == 1 && span.first?.isLetter == true && span.first?.isLowercase == true {
                guard
                    !["kvmscope", "p:ADDR", "v:ADDR", "w:ADDR", "if", "silent"].contains(where: {
                        span.hasPrefix($0)
                    })
                else { continue }
                // `catch` is the first word of many.
                if !table.commands(under: String(span)).isEmpty { continue }
                #expect(throws: Never.self, "\(span)") { try Invocation(String(span), table: table) }
            }
        }
    }

    @Test(arguments: HelpTopic.all.map(\.name))
    func helpShowsTheTopic(_ name: String) throws {
        let driver = try Driver()
        let lines = try driver.text("help \(name)")
        let topic = try #require(HelpTopic.named(name))
        #expect(lines.first == "\(name)  \(topic.summary)")
        for alias in topic.aliases { #expect(try driver.text("help \(alias)") == lines) }
        #expect(try driver.text("help").contains { $0.hasPrefix("  \(name) ") })
        #expect(try driver.json("help \(name)").contains("\"topic\":\"\(name)\""))
    }

    @Test func topicsAreFoundLikeCommands() throws {
        let driver = try Driver()
        #expect(try driver.failure("help steping").suggestion == "stepping")
        // Other words for the same, and other debuggers' words.
        for (word, command) in [
            ("reboot", "starti"), ("irq", "catch int"), ("macro", "define"), ("ram", "xp"),
            ("colour", "set theme"),
            ("drive", "info disks"),
        ] {
            let text = try driver.text("apropos \(word)")
            #expect(text.contains { $0.hasPrefix("  " + command) }, "\(word): \(text)")
        }
        #expect(try driver.text("help restart")[0].hasPrefix("run "))
        #expect(try driver.text("help reset")[0].hasPrefix("starti"))
        #expect(try driver.text("help watch")[0].hasPrefix("watch "))
        #expect(try driver.text("help rwatch")[0].contains("`watch r ADDR` watches reads"))
        #expect(try driver.text("apropos singlestep").contains { $0.hasPrefix("  stepping") })
        let found = driver.session.complete("help addr", cursor: 9)
        #expect(found.candidates.map(\.text) == ["addresses"])
        // Commands keep their pages.
        #expect(try driver.text("help step").first?.hasPrefix("step [N") == true)
        #expect(try driver.text("help d").first?.hasPrefix("delete") == true)
    }
}
