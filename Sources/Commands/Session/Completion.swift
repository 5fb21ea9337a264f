import Debugger
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
    /// A candidate that ends in `/` is a directory: nothing is to be added behind it.
    public var isFile: Bool
}

extension Session {
    /// What can stand at `cursor`.
    /// - Parameter cursor: in UTF-8 bytes; one inside a character, or beyond the line, counts as the next place
    ///   that is neither.
    public func complete(_ line: String, cursor: Int) -> Completion {
        let bytes = Array(line.utf8)
        let end = max(0, min(cursor, bytes.count))
        let before = String(decoding: bytes[..<end], as: UTF8.self)
        let words = before.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        let endsInSpace = before.last?.isWhitespace ?? true
        let current = endsInSpace ? "" : words.last ?? ""
        let done = endsInSpace ? words : Array(words.dropLast())
        func completion(
            _ found: [Completion.Candidate], of part: String, isFile: Bool = false
        ) -> Completion {
            var seen: Set<String> = []
            let candidates = found.filter { $0.text.hasPrefix(part) && seen.insert($0.text).inserted }
                .sorted { $0.text < $1.text }
            return Completion(start: end - part.utf8.count, candidates: candidates, isFile: isFile)
        }

        guard !done.isEmpty else {
            return completion(table.firstWords.map { .init($0, help(first: $0)) }, of: current)
        }
        let first = String(done[0].prefix { $0 != "/" })
        let seconds = table.secondWords(after: first)
        if done.count == 1, !seconds.isEmpty {
            let found = seconds.map { word in
                Completion.Candidate(word, table.command(named: "\(first) \(word)")?.summary ?? "")
            }
            let names = completion(found, of: current)
            if !names.candidates.isEmpty || table.command(named: first) == nil { return names }
        }
        let resolved = try? table.resolve(
            done.map { CommandTable.Word(text: String($0.prefix { $0 != "/" }), column: 0) }, line: line)
        guard let (command, used) = resolved else { return completion([], of: current) }
        let index = done.dropFirst(used).filter { !$0.hasPrefix("/") }.count
        switch command.completion(at: index) {
        case .none: return completion([], of: current)
        case .register:
            // In a plain register argument both forms are right; the user's first character chooses.
            let prefix = current.hasPrefix("$") ? "$" : ""
            return completion(RegisterName.spellings.map { .init(prefix + $0) }, of: current)
        case .expression:
            let part = lastName(of: current)
            guard part.hasPrefix("$") else { return completion([], of: part) }
            return completion(RegisterName.spellings.map { .init("$" + $0) }, of: part)
        case .breakpoint:
            return completion(
                debugger.breakpoints.map { .init("\($0.number)", $0.address.description) }, of: current)
        case .vcpu:
            return completion(debugger.target.vcpus.map { .init("\($0.id)") }, of: current)
        case .command:
            let found = table.commands.map { Completion.Candidate($0.name, $0.summary) }
            guard done.count > 1 else {
                return completion(
                    found.filter { !$0.text.contains(" ") }
                        + table.firstWords.map { .init($0) }, of: current)
            }
            return completion(table.secondWords(after: done[1]).map { .init($0) }, of: current)
        case .file:
            return completion(Files.candidates(for: current), of: current, isFile: true)
        }
    }

    private func help(first word: String) -> String {
        table.command(named: word)?.summary ?? "see `help \(word)`"
    }

    /// The name that an expression ends in: what stands behind its last operator.
    private func lastName(of text: String) -> String {
        String(
            text.reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "$" }
                .reversed())
    }
}
