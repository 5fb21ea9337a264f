/// Commands with a line each: `help`, `apropos` and `info`.
public struct HelpIndex: CommandOutput {
    public struct Entry: Sendable, Hashable, Encodable {
        public var name: String
        public var aliases: [String]
        public var usage: String
        public var category: String
        public var summary: String
    }

    public struct Topic: Sendable, Hashable, Encodable {
        public var name: String
        public var summary: String
    }

    public var commands: [Entry]
    /// Subjects that `help` has a page of.
    public var topics: [Topic]

    init(_ commands: [Command], topics: [HelpTopic] = []) {
        self.topics = topics.map { Topic(name: $0.name, summary: $0.summary) }
        self.commands = commands.map {
            Entry(
                name: $0.name, aliases: $0.aliases, usage: $0.usage, category: $0.category.rawValue,
                summary: $0.summary)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var result: [StyledLine] = []
        let nameWidth = min(34, commands.map { title($0).count }.max() ?? 0)
        for category in Command.Category.allCases {
            let entries = commands.filter { $0.category == category.rawValue }
            guard !entries.isEmpty else { continue }
            if !result.isEmpty { result.append(StyledLine()) }
            result.append(StyledLine(category.rawValue, .heading))
            for entry in entries { result += row(title(entry), entry.summary, nameWidth, width) }
        }
        guard !topics.isEmpty else { return result }
        if !result.isEmpty { result.append(StyledLine()) }
        result.append(StyledLine("Topics, as `help \(topics[0].name)`", .heading))
        let topicWidth = max(nameWidth, topics.map(\.name.count).max() ?? 0)
        for topic in topics { result += row(topic.name, topic.summary, topicWidth, width) }
        return result
    }

    private func row(_ title: String, _ summary: String, _ nameWidth: Int, _ width: Int) -> [StyledLine] {
        var line = StyledLine("  ")
        line.append(title.padded(nameWidth), .symbol)
        line.append("  ")
        var result: [StyledLine] = []
        for (index, part) in wrapped(summary, max(20, width - nameWidth - 4)).enumerated() {
            if index > 0 { line = StyledLine(String(repeating: " ", count: nameWidth + 4)) }
            line.append(part)
            result.append(line)
        }
        return result
    }

    /// The name and its single-word aliases, as many as help has room for.
    private func title(_ entry: Entry) -> String {
        ([entry.name] + entry.aliases.filter { !$0.contains(" ") }.prefix(3)).joined(separator: ", ")
    }
}

/// `help COMMAND`.
public struct HelpPage: CommandOutput {
    public struct Example: Sendable, Hashable, Encodable {
        public var line: String
        public var meaning: String
    }

    public var name: String
    public var aliases: [String]
    public var usage: String
    public var summary: String
    public var details: String
    public var examples: [Example]
    public var worksWhileRunning: Bool
    public var isRepeatable: Bool

    init(_ command: Command) {
        name = command.name
        aliases = command.aliases
        usage = command.usage
        summary = command.summary
        details = command.details
        examples = command.examples.map { Example(line: $0.line, meaning: $0.meaning) }
        worksWhileRunning = command.worksWhileRunning
        isRepeatable = command.isRepeatable
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine(usage, .heading)
        head.append("  \(summary)")
        var result = [head]
        if !aliases.isEmpty { result.append(StyledLine("Also: " + aliases.joined(separator: ", "), .dim)) }
        result += wrapped(details, width).map { StyledLine($0) }
        if isRepeatable { result.append(StyledLine("Enter repeats it.", .dim)) }
        if !worksWhileRunning { result.append(StyledLine("Needs a guest that is stopped.", .dim)) }
        let lineWidth = examples.map(\.line.count).max() ?? 0
        for example in examples {
            var line = StyledLine("  " + example.line.padded(lineWidth), .symbol)
            line.append("  " + example.meaning)
            result.append(line)
        }
        return result
    }
}

/// Text broken between words so that no line is longer than `width`; a longer word stands alone.
package func wrapped(_ text: String, _ width: Int) -> [String] {
    var lines: [String] = []
    for word in text.split(separator: " ") {
        if let last = lines.last, last.count + 1 + word.count <= width {
            lines[lines.count - 1] += " " + word
        } else {
            lines.append(String(word))
        }
    }
    return lines
}

/// `source`: the commands follow one by one.
public struct SourceOutput: CommandOutput, Hashable {
    public var file: String
    public var commands: Int

    public func lines(width: Int) -> [StyledLine] { [] }
}

/// `history`.
public struct HistoryOutput: CommandOutput, Hashable {
    public struct Entry: Sendable, Hashable, Encodable {
        public var number: Int
        public var line: String
    }

    public var entries: [Entry]

    public func lines(width: Int) -> [StyledLine] {
        entries.map { entry in
            var line = StyledLine("\(entry.number)".leftPadded(5) + "  ", .dim)
            line.append(entry.line)
            return line
        }
    }
}
