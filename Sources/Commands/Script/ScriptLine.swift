/// Where a line of a script stands.
struct ScriptPlace: Sendable, Hashable, CustomStringConvertible {
    /// A file as it was named, or a word for where lines without a file come from.
    var source: String
    /// From 1 on; nil where lines are not counted.
    var line: Int?

    var description: String { line.map { "\(source):\($0)" } ?? source }
}

/// A line of a script, as it was written.
struct ScriptLine: Sendable, Hashable {
    var text: String
    var place: ScriptPlace

    /// Nothing, or a comment.
    var isEmpty: Bool {
        guard let first = text.first(where: { !$0.isWhitespace }) else { return true }
        return first == "#"
    }

    /// It closes a block.
    var isEnd: Bool { text.trimmingSpaces == "end" }

    /// The first word, and what stands after it.
    var words: (first: String, rest: String) { Self.words(of: text) }

    static func words(of text: String) -> (first: String, rest: String) {
        let text = text.trimmingSpaces
        let first = text.prefix { !$0.isWhitespace }
        return (String(first), String(text[first.endIndex...]).trimmingSpaces)
    }
}

extension String {
    /// Without spaces around it.
    var trimmingSpaces: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

/// What begins lines that belong together, up to `end`.
enum BlockKind: String, Sendable, Hashable {
    case `if`, `while`, define, document, commands

    /// What a line opens, if anything: `commands 1 regs` is whole by itself.
    init?(opening line: ScriptLine) {
        let (first, rest) = line.words
        // `commands` is cut short, as GDB's users do; the others are short enough.
        let isCommands = first.count >= 4 && BlockKind.commands.rawValue.hasPrefix(first)
        guard let kind = isCommands ? .commands : BlockKind(rawValue: first) else { return nil }
        guard kind != .commands || rest == "$bpnum" || rest.allSatisfy({ $0.isNumber || $0 == "-" }) else {
            return nil
        }
        self = kind
    }
}

/// A part of a block that was read to its end.
indirect enum Statement: Sendable, Hashable {
    case line(ScriptLine)
    case branch(ScriptLine, then: [Statement], otherwise: [Statement])
    case loop(ScriptLine, [Statement])
    /// Lines that are a block of their own once they are done: `define` and `commands` within another block.
    case block([ScriptLine])
}
