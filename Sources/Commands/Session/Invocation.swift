/// A piece of a command line and where it stands.
struct Argument: Sendable, Hashable {
    var text: String
    /// Where the text begins, in characters of the whole line, from 0.
    var column: Int
    /// It stands in double quotes, which are not part of the text.
    var isQuoted = false

    /// Where it begins and ends in the line, with its quotes.
    var start: Int { isQuoted ? column - 1 : column }
    var end: Int { column + text.count + (isQuoted ? 1 : 0) }
}

/// A command line taken apart.
struct Invocation: Sendable {
    var line: String
    var command: Command
    /// The part after the slash of `x/4i`, without the slash.
    var format: Argument?
    /// All after the name (and the format), with surrounding spaces cut off.
    var rest: Argument
    /// The line was repeated by Enter.
    var isRepeat = false

    /// The words of ``rest``; see ``split(_:)``.
    var arguments: [Argument] { split(rest) }

    /// Takes the `&` off the end of a command that resumes the guest.
    mutating func takeBackgroundMark() -> Bool {
        guard command.category == .running, rest.text.last == "&" else { return false }
        rest.text.removeLast()
        while rest.text.last?.isWhitespace == true { rest.text.removeLast() }
        return true
    }

    /// An error about `argument`, with the caret at its start, or `offset` characters into it.
    func error(
        _ message: String, at argument: Argument? = nil, offset: Int = 0, suggestion: String? = nil,
        remedy: String? = nil
    ) -> CommandError {
        CommandError(
            message, line: line, column: (argument?.column ?? rest.column) + offset,
            suggestion: suggestion, remedy: remedy)
    }

    /// The error for wrong arguments: what the command takes.
    func usageError(_ message: String, at argument: Argument? = nil) -> CommandError {
        error(message, at: argument, remedy: "usage: \(command.usage)")
    }

    /// Refuses arguments beyond `count`.
    func checkCount(_ count: Int) throws(CommandError) {
        let all = arguments
        guard all.count > count else { return }
        let wanted =
            count == 0 ? "no argument" : count == 1 ? "one argument at most" : "\(count) arguments at most"
        throw usageError("`\(command.name)` takes \(wanted)", at: all[count])
    }
}

extension Invocation {
    /// Takes a line apart.
    init(_ line: String, table: CommandTable) throws(CommandError) {
        let characters = Array(line)
        var position = 0
        func skipSpaces() {
            while position < characters.count, characters[position].isWhitespace { position += 1 }
        }
        func word(stoppingAtSlash: Bool) -> CommandTable.Word {
            let start = position
            // `!ls` and `|regs | less`: a sign is a word by itself.
            if stoppingAtSlash, start < characters.count, "!|".contains(characters[start]),
                characters[..<start].allSatisfy(\.isWhitespace)
            {
                position += 1
                return CommandTable.Word(text: String(characters[start]), column: start)
            }
            while position < characters.count, !characters[position].isWhitespace,
                !(stoppingAtSlash && position > start && characters[position] == "/")
            {
                position += 1
            }
            return CommandTable.Word(text: String(characters[start..<position]), column: start)
        }

        skipSpaces()
        var words = [word(stoppingAtSlash: true)]
        let afterFirst = position
        if position < characters.count, characters[position] != "/" {
            skipSpaces()
            if position < characters.count { words.append(word(stoppingAtSlash: true)) }
        }
        let afterSecond = position
        let (command, used) = try table.resolve(words, line: line)
        position = used == 2 ? afterSecond : afterFirst

        // `x/4i` and, as Bochs has it, `x /4i`.
        var format: Argument?
        let beforeFormat = position
        let isSign = words[0].text == "!" || words[0].text == "|"
        let isAdjacent = !isSign && position < characters.count && characters[position] == "/"
        skipSpaces()
        if position < characters.count, characters[position] == "/", isAdjacent || command.takesFormat {
            guard command.takesFormat else {
                throw CommandError(
                    "`\(command.name)` takes no format", line: line, column: position,
                    remedy: "usage: \(command.usage)")
            }
            position += 1
            let found = word(stoppingAtSlash: false)
            format = Argument(text: found.text, column: found.column)
        } else {
            position = beforeFormat
        }
        skipSpaces()
        var end = characters.count
        while end > position, characters[end - 1].isWhitespace { end -= 1 }
        self.init(
            line: line, command: command, format: format,
            rest: Argument(text: String(characters[position..<end]), column: position))
    }
}

/// Splits at spaces that stand outside of parentheses and double quotes, so that `(a + b)` is one word. The
/// quotes of a word that is wholly quoted are dropped.
func split(_ argument: Argument) -> [Argument] {
    var result: [Argument] = []
    var current = ""
    var start = 0
    var depth = 0
    var isQuoted = false
    func close() {
        guard !current.isEmpty else { return }
        let isWhole = current.count >= 2 && current.first == "\"" && current.last == "\""
        let text = isWhole ? String(current.dropFirst().dropLast()) : current
        let column = argument.column + start + (isWhole ? 1 : 0)
        result.append(Argument(text: text, column: column, isQuoted: isWhole))
        current = ""
    }
    for (index, character) in argument.text.enumerated() {
        if character.isWhitespace, depth == 0, !isQuoted {
            close()
            continue
        }
        if current.isEmpty { start = index }
        if character == "\"" { isQuoted.toggle() }
        if !isQuoted {
            if character == "(" { depth += 1 }
            if character == ")" { depth = max(0, depth - 1) }
        }
        current.append(character)
    }
    close()
    return result
}

extension Argument {
    /// Where the first comma stands that is in no bracket and no quotes, in Characters.
    var comma: Int? {
        var depth = 0
        var quote: Character?
        for (index, character) in text.enumerated() {
            if let open = quote {
                if character == open { quote = nil }
                continue
            }
            switch character {
            case "\"", "'": quote = character
            case "(", "[", "{": depth += 1
            case ")", "]", "}": depth -= 1
            case "," where depth == 0: return index
            default: break
            }
        }
        return nil
    }

    /// What stands before and after the Character at `place`, without spaces around.
    func parts(at place: Int) -> (Argument, Argument) {
        let first = Argument(text: String(text.prefix(place)), column: column)
        let second = Argument(text: String(text.dropFirst(place + 1)), column: column + place + 1)
        return (first.trimmed, second.trimmed)
    }

    private var trimmed: Argument {
        let spaces = text.prefix(while: \.isWhitespace).count
        var rest = text.dropFirst(spaces)
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return Argument(text: String(rest), column: column + spaces)
    }
}
