import X86

extension CommandTable {
    static let otherCommands: [Command] = [
        Command(
            "help", ["h"], "[COMMAND | TOPIC]", .other, "list the commands, or explain one, or a topic",
            details:
                "Names can be cut short as long as they stay unambiguous. Enter repeats the last command. Topics: \(HelpTopic.all.map(\.name).joined(separator: ", ")).",
            examples: [
                .init("help", "the list"), .init("help x", "formats and examples"),
                .init("help addresses", "a topic"),
            ],
            completion: [.command], whileRunning: true, action: OtherActions.help),
        Command(
            "apropos", [], "WORD", .other, "search the help for a word",
            examples: [.init("apropos memory", "commands that mention it")], whileRunning: true,
            action: OtherActions.apropos),
        Command(
            "info", [], "", .other, "list what `info` can show", whileRunning: true,
            action: OtherActions.info),
        Command(
            "source", [], "FILE", .other, "do the commands of a file",
            details: """
                One command a line; blank lines and lines that start with `#` are left out. A command that resumes the \
                guest is waited for. The first that fails ends it. While the guest runs it works where nobody waits for a \
                stop: after `continue &`, or when the guest was attached to and has not been stopped.
                """,
            examples: [.init("source boot.cmd", "as typed")], completion: [.file], whileRunning: true,
            action: OtherActions.source),
        Command(
            "history", [], "[N]", .other, "list the last N commands typed, or all", whileRunning: true,
            action: OtherActions.history),
        Command(
            "quit", ["q", "exit"], "[STATUS]", .other,
            "end the session: the guest ends, or goes on if it was attached to",
            details:
                "STATUS, from 0 to 255, is what kvmscope ends with; `quit $_exitcode` passes the guest's on.",
            completion: [.expression], whileRunning: true
        ) {
            session, call throws(CommandError) in
            if !call.rest.text.isEmpty {
                let value = try session.number(call.rest, call)
                guard value <= 255 else {
                    throw call.error("a status is from 0 to 255, not \(session.signed(value))", at: call.rest)
                }
                session.exitStatus = Int32(value)
            }
            return .quit
        },
    ]
}

enum OtherActions {
    static func help(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let name = call.arguments.map(\.text).joined(separator: " ")
        guard !name.isEmpty else { return .done(HelpIndex(session.table.commands, topics: HelpTopic.all)) }
        if let command = session.userCommands[name] {
            return .done(UserCommandList([command], withLines: command.documentation.isEmpty))
        }
        if name == "user-defined" {
            return try ScriptActions.showUser(session, Invocation("show user", table: session.table))
        }
        // `set` is a command itself, beside those that begin with the word.
        if let command = session.table.commands.first(where: { $0.name == name }), !command.arguments.isEmpty
        {
            return .done(HelpPage(command))
        }
        let group = session.table.commands(under: name)
        if let command = session.table.command(named: name), command.name == name, !command.details.isEmpty {
            return .done(HelpPage(command))
        }
        // Before short forms, and after names that are typed in full.
        if !session.table.allNames.contains(name), let topic = HelpTopic.named(name) {
            return .done(HelpTopicPage(topic))
        }
        // `info` and `vcpu` are words that many commands begin with: those are the answer.
        if group.count > 1 { return .done(HelpIndex(group)) }
        if let command = session.table.command(named: name) { return .done(HelpPage(command)) }
        guard group.isEmpty else { return .done(HelpIndex(group)) }
        switch ForeignName.named(name) {
        case .same(let other)?:
            if let command = session.table.command(named: other) { return .done(HelpPage(command)) }
        case .told(let sentence)?: return .done(Message("There is no command `\(name)` here: \(sentence)."))
        case nil: break
        }
        throw call.error(
            "there is no command `\(name.shortened)`",
            suggestion: nearest(to: name, in: session.table.allNames + HelpTopic.all.map(\.name)),
            remedy: "`help` lists the commands and topics; `apropos WORD` searches them")
    }

    static func apropos(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let word = call.rest.text.lowercased()
        guard !word.isEmpty else { throw call.usageError("`apropos` needs a word") }
        let found = mentions(session) { $0.contains(word) }
        // Other words for the same come after those that have the word itself.
        let others = Synonyms.of(word)
        let more = mentions(session) { !others.isEmpty && Synonyms.text($0, names: others) }
        let commands =
            found.commands + more.commands.filter { one in !found.commands.contains { $0.name == one.name } }
        let topics =
            found.topics + more.topics.filter { one in !found.topics.contains { $0.name == one.name } }
        guard !commands.isEmpty || !topics.isEmpty else {
            return .done(Message("No command mentions `\(word)`."))
        }
        return .done(HelpIndex(commands, topics: topics))
    }

    /// The commands and topics one of whose texts, in lower case, is as wanted.
    private static func mentions(
        _ session: Session, _ isWanted: (String) -> Bool
    ) -> (commands: [Command], topics: [HelpTopic]) {
        let commands = session.table.commands.filter { command in
            let texts = command.names + [command.summary, command.details] + command.examples.map(\.meaning)
            return texts.contains { isWanted($0.lowercased()) }
        }
        let topics = HelpTopic.all.filter { topic in
            ([topic.name, topic.summary] + topic.aliases + topic.paragraphs).contains {
                isWanted($0.lowercased())
            }
        }
        return (commands, topics)
    }

    static func info(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        if let word = call.arguments.first {
            let names = session.table.secondWords(after: "info")
            throw call.error(
                "there is no `info \(word.text.shortened)`", at: word,
                suggestion: nearest(to: word.text, in: names).map { "info \($0)" },
                remedy: "one of: " + names.joined(separator: ", "))
        }
        return .done(HelpIndex(session.table.commands(under: "info")))
    }

    static func source(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 1 else { throw call.usageError("`source` takes one file") }
        guard !session.isRunning || session.isBackground else {
            throw call.error(
                "`source` needs a guest that is stopped, or runs with nobody waiting for its stop",
                at: Argument(text: "", column: 0), remedy: "stop it first: `stop`, Ctrl-C or F12")
        }
        let lines = try Files.lines(arguments[0], session, call)
        let count = try session.enqueue(lines, file: arguments[0].text, call)
        return .done(SourceOutput(file: arguments[0].text, commands: count))
    }

    static func history(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call, or: UInt64(Session.longestHistory))
        let all = session.history.enumerated().map {
            HistoryOutput.Entry(number: $0.offset + 1, line: $0.element)
        }
        return .done(HistoryOutput(entries: all.suffix(count)))
    }
}
