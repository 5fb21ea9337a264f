import DebugTarget
import Debugger
import Symbols
import SystemPackage
import X86

/// What can stand where the cursor is.
public struct Completion: Sendable, Hashable {
    public struct Candidate: Sendable, Hashable {
        /// Replaces the line's text from ``Completion/start`` to the cursor.
        public var text: String
        /// A few words; may be empty.
        public var help: String
        public init(_ text: String, _ help: String = "") {
            self.text = text
            self.help = help
        }
    }

    /// In UTF-8 bytes from the line's start.
    public var start: Int
    /// Sorted, each once.
    public var candidates: [Candidate]
    /// A candidate that ends in `/` is a directory: nothing is to be added after it.
    public var isFile: Bool
}

extension Session {
    /// What can stand at `cursor`.
    /// - Parameter cursor: in UTF-8 bytes; one inside a character, or beyond the line, counts as the next place
    ///   that is neither.
    public func complete(_ line: String, cursor: Int) -> Completion {
        let bytes = Array(line.utf8)
        var end = max(0, min(cursor, bytes.count))
        while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
        let before = String(decoding: bytes[..<end], as: UTF8.self)
        let words = before.split(whereSeparator: \.isWhitespace).map(String.init)
        let endsInSpace = before.last?.isWhitespace ?? true
        let current = endsInSpace ? "" : words.last ?? ""
        let done = endsInSpace ? words : Array(words.dropLast())
        var found = Found(part: current)
        if let first = done.first {
            if done.count == 1 { found.candidates = secondWords(after: first, current) }
            if let (kind, isFirst) = argument(after: done, line) {
                // Second words stand beside what else may follow: `delete breakpoints`, `delete 1`.
                let others = candidates(kind, after: done, current)
                if isFirst, others.part == found.part {
                    found.candidates += others.candidates
                } else if !isFirst || found.candidates.isEmpty {
                    found = others
                }
                found.isFile = others.isFile
            }
        } else {
            found.candidates = firstWords(current)
        }
        var seen: Set<String> = []
        let matching = found.candidates.filter {
            // What cannot be shown as it is cannot be chosen by eye, and readline would write it as it is.
            $0.text.hasPrefix(found.part) && $0.text.printable == $0.text && seen.insert($0.text).inserted
        }
        return Completion(
            start: end - found.part.utf8.count, candidates: matching.sorted { $0.text < $1.text },
            isFile: found.isFile)
    }

    /// What may stand in place of `part`, the end of the line.
    private struct Found {
        var part: String
        var candidates: [Completion.Candidate] = []
        var isFile = false
    }

    // Only what begins as the part does is made into candidates: this is done at every key.

    private func firstWords(_ part: String) -> [Completion.Candidate] {
        table.firstWords(startingWith: part).map { .init($0, help(first: $0)) }
            + userCommands.names.lazy.filter { $0.hasPrefix(part) }.map {
                .init($0, self.userCommands[$0]?.summary ?? "")
            }
    }

    private func secondWords(after first: String, _ part: String) -> [Completion.Candidate] {
        table.secondWords(after: first, startingWith: part).map {
            .init($0, table.command(named: "\(first) \($0)")?.summary ?? "")
        }
    }

    /// Names of registers, with the dollar that `part` begins with, if it does.
    private func registers(_ part: String, _ spellings: [String]) -> [Completion.Candidate] {
        guard part.hasPrefix("$") else {
            return spellings.lazy.filter { $0.hasPrefix(part) }.map { .init($0) }
        }
        let name = part.dropFirst()
        return spellings.lazy.filter { $0.hasPrefix(name) }.map { .init("$" + $0) }
    }

    /// What completes the argument that comes next, and whether it follows the first word.
    private func argument(
        after done: [String], _ line: String
    ) -> (kind: Command.CompletionKind, isFirst: Bool)? {
        let words = done.map { CommandTable.Word(text: String($0.prefix { $0 != "/" }), column: 0) }
        guard let (command, used) = try? table.resolve(words, line: line) else { return nil }
        let index = done.dropFirst(used).filter { !(command.takesFormat && $0.hasPrefix("/")) }.count
        return (command.completion(at: index), done.count == 1)
    }

    private func candidates(
        _ kind: Command.CompletionKind, after done: [String], _ current: String
    ) -> Found {
        var found = Found(part: current)
        switch kind {
        case .none: break
        case .register:
            // Both forms are right; the user's first character chooses.
            found.candidates = registers(current, RegisterName.spellings)
        case .settable:
            found.candidates =
                registers(current, RegisterName.spellings) + registers(current, StateName.spellings)
        case .expression:
            found.part = lastName(of: current)
            guard found.part.hasPrefix("$") else {
                found.candidates = symbols(found.part)
                break
            }
            found.candidates =
                registers(found.part, RegisterName.spellings)
                + debugger.variableNames(startingWith: String(found.part.dropFirst())).map {
                    .init("$" + $0, "variable")
                }
        case .symbol: found.candidates = symbols(current)
        case .words(let words): found.candidates = words.map { .init($0) }
        case .breakpoint:
            found.candidates = debugger.breakpoints.lazy.filter { "\($0.number)".hasPrefix(current) }
                .map { .init("\($0.number)", $0.event?.text ?? $0.address.description) }
        case .vcpu:
            found.candidates = debugger.target.vcpus.map { .init("\($0.id)") }
        case .command:
            found.candidates =
                done.count > 1
                ? secondWords(after: done[1], current) : firstWords(current) + topics(current)
        case .file:
            found.candidates = Files.candidates(for: current)
            found.isFile = true
        }
        return found
    }

    /// Symbols and source files. There may be many: those of a first letter are enough to choose from.
    private func symbols(_ prefix: String) -> [Completion.Candidate] {
        guard !prefix.isEmpty else { return [] }
        let table = debugger.symbols
        return table.names(startingWith: prefix, limit: 500).map { .init($0) }
            + table.sourceNames(startingWith: prefix, limit: 100).map { .init($0 + ":", "source file") }
    }

    private func topics(_ part: String) -> [Completion.Candidate] {
        HelpTopic.all.filter { $0.name.hasPrefix(part) }.map { .init($0.name, $0.summary) }
    }

    private func help(first word: String) -> String {
        table.command(named: word)?.summary ?? "see `help \(word)`"
    }

    /// The name that an expression ends in: what stands after its last operator.
    private func lastName(of text: String) -> String {
        String(
            text.reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "$" }
                .reversed())
    }
}
