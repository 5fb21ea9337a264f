import X86

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
        var seconds = SortedNames([])
    }
    private var names = SortedNames([])
    /// First words that a misspelling may have meant: none that ends or deletes something.
    private var suggested: [String] = []

    /// The table of this program.
    public static let standard = CommandTable(
        runningCommands + restartCommands + steppingCommands + pastCommands + breakpointCommands
            + catchCommands + traceCommands + faultCommands
            + registerCommands + memoryCommands + searchCommands + unwindCommands + displayCommands
            + codeCommands + pagingCommands + tableCommands + systemCommands
            + symbolCommands + vcpuCommands + exitCommands + typingCommands + deviceCommands
            + firmwareCommands + guestCommands + imageCommands + assistCommands
            + remoteCommands + scriptCommands + savingCommands + screenCommands + otherCommands)

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
        names = SortedNames(entries.keys)
        suggested = names.all.filter {
            // A sign is nothing that a letter was meant for.
            $0.first?.isLetter == true
                && !["delete", "del", "d", "quit", "q", "exit", "detach", "unwatch", "undisplay"].contains($0)
        }
        for word in names.all {
            guard var entry = entries[word] else { continue }
            entry.seconds = SortedNames(entry.second.keys)
            entries[word] = entry
        }
    }

    /// The first words of all names, sorted.
    public var firstWords: [String] { names.all }

    /// Those of the first words that begin with `prefix`, sorted.
    func firstWords(startingWith prefix: String) -> ArraySlice<String> { names.startingWith(prefix) }

    /// The second words that may follow `first`, sorted; only those that begin with `prefix`.
    public func secondWords(after first: String, startingWith prefix: String = "") -> [String] {
        guard case .one(let word) = match(first, names) else { return [] }
        return entries[word].map { Array($0.seconds.startingWith(prefix)) } ?? []
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
        switch match(first.text, names) {
        case .one(let word):
            name = word
            entry = entries[word] ?? Entry()
        case .many(let names):
            if let foreign = ForeignName.named(first.text) {
                return (try resolve(foreign, first, line), 1)
            }
            throw CommandError(
                "`\(first.text)` is ambiguous: \(names.joined(separator: ", "))", line: line,
                column: first.column)
        case .none:
            if let foreign = ForeignName.named(first.text) {
                return (try resolve(foreign, first, line), 1)
            }
            throw CommandError(
                "there is no command `\(first.text.shortened)`", line: line, column: first.column,
                suggestion: nearest(to: first.text, in: suggested),
                remedy: "`help` lists the commands")
        }
        if words.count > 1, !entry.second.isEmpty {
            switch match(words[1].text, entry.seconds) {
            case .one(let word):
                if let index = entry.second[word] { return (commands[index], 2) }
            case .many(let names):
                if entry.command == nil {
                    throw CommandError(
                        "`\(name) \(words[1].text)` is ambiguous: \(names.joined(separator: ", "))",
                        line: line, column: words[1].column)
                }
            case .none:
                let others = name == "info" ? ForeignName.info : name == "show" ? ForeignName.show : [:]
                if let foreign = others[words[1].text] {
                    return (try resolve(foreign, words[1], line), 2)
                }
                if entry.command == nil {
                    throw CommandError(
                        "there is no `\(name) \(words[1].text.shortened)`", line: line,
                        column: words[1].column,
                        suggestion: nearest(to: words[1].text, in: entry.seconds.all)
                            .map { "\(name) \($0)" },
                        remedy: "`help \(name)` lists what may follow")
                }
            }
        }
        guard let index = entry.command else {
            throw CommandError(
                "`\(name)` needs a second word", line: line, column: first.column,
                remedy: "one of: " + entry.seconds.all.joined(separator: ", "))
        }
        return (commands[index], 1)
    }

    /// What another debugger's name stands for.
    private func resolve(_ foreign: ForeignName, _ word: Word, _ line: String) throws(CommandError) -> Command
    {
        switch foreign {
        case .same(let name):
            if let command = command(named: name) { return command }
            throw CommandError("there is no command `\(name)`", line: line, column: word.column)
        case .told(let sentence):
            throw CommandError(
                "there is no command `\(word.text)` here", line: line, column: word.column, remedy: sentence)
        }
    }

    private enum Match {
        case none
        case one(String)
        case many([String])
    }

    private func match(_ text: String, _ names: SortedNames) -> Match {
        let found = names.startingWith(text)
        if found.first == text { return .one(text) }
        if let full = Self.groupAliases[text], found.contains(full) { return .one(full) }
        guard let first = found.first else { return .none }
        // What is the beginning of all the others, as `step` of `step-until`, is meant.
        if found.allSatisfy({ $0.hasPrefix(first) }) || sameCommand(found) { return .one(first) }
        return .many(Array(found))
    }

    /// Whether all of these first words are names of one command.
    private func sameCommand(_ names: ArraySlice<String>) -> Bool {
        let targets = Set(names.map { entries[$0]?.command })
        return targets.count == 1 && targets.first != .some(nil)
            && names.allSatisfy { entries[$0]?.second.isEmpty ?? false }
    }
}

/// Names among which those that begin alike stand together.
struct SortedNames: Sendable {
    let all: [String]

    init(_ names: some Sequence<String>) { all = names.sorted() }

    func startingWith(_ prefix: String) -> ArraySlice<String> {
        var (low, high) = (0, all.count)
        while low < high {
            let middle = low + (high - low) / 2
            if all[middle] < prefix { low = middle + 1 } else { high = middle }
        }
        return all[low...].prefix { $0.hasPrefix(prefix) }
    }
}

/// The candidate nearest to `text` by edit distance, if any is near enough to be a slip of the fingers.
package func nearest(to text: String, in candidates: some Sequence<String>) -> String? {
    let length = text.utf8.count
    guard length <= Misspelling.longest else { return nil }
    let limit = max(1, text.count / 3)
    var misspelling = Misspelling(text)
    var best: (distance: Int, name: String)?
    for name in candidates {
        guard let distance = misspelling.distance(to: name, limit: limit), distance < max(length, 2) else {
            continue
        }
        if let best, (best.distance, best.name) <= (distance, name) { continue }
        best = (distance, name)
    }
    return best?.name
}
