/// All commands, and how a word becomes one of them.
///
/// A name may be cut as long as it stays unambiguous, in both of its words: `inf br` is `info breakpoints`.
/// A name typed in full always wins.
public struct CommandTable: Sendable {
    public let commands: [Command]

    /// First words and what they stand for: a command of one word, and second words with theirs.
    private var entries: [String: Entry] = [:]

    private struct Entry {
        var command: Int?
        var second: [String: Int] = [:]
    }

    /// The table of this program.
    public static let standard = CommandTable(
        runningCommands + steppingCommands + pastCommands + breakpointCommands
            + catchCommands
            + registerCommands + memoryCommands + lookingCommands + displayCommands
            + codeCommands + pagingCommands + tableCommands + systemCommands
            + symbolCommands + vcpuCommands + exitCommands + guestCommands + otherCommands)

    /// Short forms of first words that open a subtable.
    private static let groupAliases = ["i": "info"]

    init(_ commands: [Command]) {
        self.commands = commands
        for (index, command) in commands.enumerated() {
            for name in command.names {
                let words = name.split(separator: " ").map(String.init)
                if words.count == 1 {
                    precondition(entries[words[0]]?.command == nil, "the name \(name) is taken")
                    entries[words[0], default: Entry()].command = index
                } else {
                    precondition(
                        words.count == 2 && entries[words[0]]?.second[words[1]] == nil,
                        "the name \(name) is taken or has more than two words")
                    entries[words[0], default: Entry()].second[words[1]] = index
                }
            }
        }
    }

    /// The first words of all names, sorted.
    public var firstWords: [String] { entries.keys.sorted() }

    /// The second words that may follow `first`, sorted.
    public func secondWords(after first: String) -> [String] {
        guard case .one(let word) = match(first, entries.keys) else { return [] }
        return entries[word]?.second.keys.sorted() ?? []
    }

    /// The command of exactly this name, or of an unambiguous short form; nil for none.
    public func command(named name: String) -> Command? {
        let words = name.split(separator: " ").map { Word(text: String($0), column: 0) }
        guard let (command, used) = try? resolve(words, line: name), used == words.count else { return nil }
        return command
    }

    struct Word {
        var text: String
        var column: Int
    }

    /// Finds the command that the first word, or the first two, name.
    /// - Returns: the command and how many words named it.
    func resolve(_ words: [Word], line: String) throws(CommandError) -> (Command, Int) {
        guard let first = words.first else { throw CommandError("no command given", line: line) }
        let entry: Entry
        let name: String
        switch match(first.text, entries.keys) {
        case .one(let word):
            name = word
            entry = entries[word] ?? Entry()
        case .many(let names):
            throw CommandError(
                "`\(first.text)` is ambiguous: \(names.joined(separator: ", "))", line: line,
                column: first.column)
        case .none:
            throw CommandError(
                "there is no command `\(first.text)`", line: line, column: first.column,
                suggestion: nearest(to: first.text, in: firstWords),
                remedy: "`help` lists the commands")
        }
        if words.count > 1, !entry.second.isEmpty {
            switch match(words[1].text, entry.second.keys) {
            case .one(let word):
                if let index = entry.second[word] { return (commands[index], 2) }
            case .many(let names):
                if entry.command == nil {
                    throw CommandError(
                        "`\(name) \(words[1].text)` is ambiguous: \(names.joined(separator: ", "))",
                        line: line, column: words[1].column)
                }
            case .none:
                if entry.command == nil {
                    throw CommandError(
                        "there is no `\(name) \(words[1].text)`", line: line, column: words[1].column,
                        suggestion: nearest(to: words[1].text, in: Array(entry.second.keys))
                            .map { "\(name) \($0)" },
                        remedy: "`help \(name)` lists what may follow")
                }
            }
        }
        guard let index = entry.command else {
            throw CommandError(
                "`\(name)` needs a second word", line: line, column: first.column,
                remedy: "one of: " + entry.second.keys.sorted().joined(separator: ", "))
        }
        return (commands[index], 1)
    }

    private enum Match {
        case none
        case one(String)
        case many([String])
    }

    private func match(_ text: String, _ names: some Collection<String>) -> Match {
        if names.contains(text) { return .one(text) }
        if let full = Self.groupAliases[text], names.contains(full) { return .one(full) }
        let found = names.filter { $0.hasPrefix(text) }.sorted()
        guard let first = found.first else { return .none }
        // What is the beginning of all the others, as `step` of `step-until`, is meant.
        if found.allSatisfy({ $0.hasPrefix(first) }) || sameCommand(found) { return .one(first) }
        return .many(found)
    }

    /// Whether all of these first words are names of one command.
    private func sameCommand(_ names: [String]) -> Bool {
        let targets = Set(names.map { entries[$0]?.command })
        return targets.count == 1 && targets.first != .some(nil)
            && names.allSatisfy { entries[$0]?.second.isEmpty ?? false }
    }
}

/// The candidate nearest to `text` by edit distance, if any is near enough to be a slip of the fingers.
func nearest(to text: String, in candidates: some Sequence<String>) -> String? {
    let limit = max(1, text.count / 3)
    // Each letter more or less is an edit.
    let scored = candidates.lazy.filter { abs($0.utf8.count - text.utf8.count) <= limit }
        .map { (distance: editDistance(text, $0), name: $0) }
        .filter { $0.distance <= limit && $0.distance < max(text.count, 2) }
    return scored.min { ($0.distance, $0.name) < ($1.distance, $1.name) }?.name
}

/// How many insertions, deletions, substitutions and swaps of neighbours turn one text into the other.
func editDistance(_ from: String, _ to: String) -> Int {
    let (a, b) = (Array(from.utf8), Array(to.utf8))
    // A text this long is no slip of a name, and the table below grows with its length.
    guard a.count <= 64, b.count <= 64 else { return .max }
    var before = [Int](repeating: 0, count: b.count + 1)
    var last = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1] + [Int](repeating: 0, count: b.count)
        for j in 0..<b.count {
            row[j + 1] = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                row[j + 1] = min(row[j + 1], before[j - 1] + 1)
            }
        }
        (before, last) = (last, row)
    }
    return last[b.count]
}
