import X86

/// Takes the lines of a block, up to its `end`.
struct BlockReader {
    /// Blocks inside each other.
    static let deepest = 64
    /// Lines of one block: more are a script that went wrong.
    static let most = 100_000

    let kind: BlockKind
    /// The line that began it.
    let first: ScriptLine
    private(set) var lines: [ScriptLine] = []
    /// Of the blocks that are open, the kind and the line; the outermost first.
    private var open: [(kind: BlockKind, line: ScriptLine, hasElse: Bool)]

    init(_ kind: BlockKind, _ first: ScriptLine) {
        self.kind = kind
        self.first = first
        open = [(kind, first, false)]
    }

    /// The block that the next `end` closes.
    var innermost: ScriptLine { open.last?.line ?? first }

    /// Takes the next line.
    /// - Returns: whether it was the `end` of the whole block.
    mutating func take(_ line: ScriptLine) throws(CommandError) -> Bool {
        if line.isEnd {
            open.removeLast()
            guard !open.isEmpty else { return true }
            lines.append(line)
            return false
        }
        // The text of `document` is no script.
        if open.last?.kind != .document {
            if line.words.first == "else" { try takeElse(line) }
            if let kind = BlockKind(opening: line) {
                guard open.count < Self.deepest else {
                    throw CommandError("blocks are nested more than \(Self.deepest) deep", line: line.text)
                }
                open.append((kind, line, false))
            }
        }
        guard lines.count < Self.most else {
            throw CommandError(
                "the block has more than \(Self.most) lines",
                remedy: "it begins with `\(first.text.trimmingSpaces.shortened)` and has no `end` by then")
        }
        lines.append(line)
        return false
    }

    private mutating func takeElse(_ line: ScriptLine) throws(CommandError) {
        guard line.words.rest.isEmpty else {
            throw CommandError(
                "`else` stands on a line of its own", line: line.text,
                remedy: "put `if EXPR` on the line after it, with an `end` of its own")
        }
        guard let last = open.last, last.kind == .if, !last.hasElse else {
            throw CommandError(
                open.last?.kind == .if ? "this `if` has an `else` already" : "`else` belongs to no `if`",
                line: line.text)
        }
        open[open.count - 1].hasElse = true
    }

    /// The lines as statements; of `document` and `commands`, which keep lines, nothing.
    func statements() -> [Statement] {
        var parser = StatementParser(lines: lines)
        return parser.statements { _ in false }
    }

    /// The whole block as a statement of a script that does it.
    func statement() -> Statement {
        var parser = StatementParser(lines: lines)
        switch kind {
        case .if:
            let (then, otherwise) = parser.branches()
            return .branch(first, then: then, otherwise: otherwise)
        case .while: return .loop(first, parser.statements { _ in false })
        case .define, .document, .commands:
            return .block([first] + lines + [ScriptLine(text: "end", place: first.place)])
        }
    }
}

/// Puts the lines of a block together; their nesting was checked as they were taken.
private struct StatementParser {
    let lines: [ScriptLine]
    private var next = 0

    init(lines: [ScriptLine]) { self.lines = lines }

    private mutating func take() -> ScriptLine? {
        guard next < lines.count else { return nil }
        defer { next += 1 }
        return lines[next]
    }

    mutating func branches() -> (then: [Statement], otherwise: [Statement]) {
        var hasElse = false
        let then = statements { line in
            hasElse = line.words.first == "else"
            return hasElse || line.isEnd
        }
        return (then, hasElse ? statements(until: \.isEnd) : [])
    }

    /// Up to a line that ends them, which is taken, or to the last line.
    mutating func statements(until ends: (ScriptLine) -> Bool) -> [Statement] {
        var result: [Statement] = []
        while let line = take() {
            if ends(line) { break }
            if line.isEmpty { continue }
            switch BlockKind(opening: line) {
            case .if:
                let (then, otherwise) = branches()
                result.append(.branch(line, then: then, otherwise: otherwise))
            case .while: result.append(.loop(line, statements(until: \.isEnd)))
            case .define, .document, .commands: result.append(.block(raw(from: line)))
            case nil: result.append(.line(line))
            }
        }
        return result
    }

    /// The lines of a block that is read anew when it is done, with its first and its `end`.
    private mutating func raw(from first: ScriptLine) -> [ScriptLine] {
        var result = [first]
        var open = [BlockKind(opening: first)]
        while let line = take() {
            result.append(line)
            if line.isEnd {
                open.removeLast()
                if open.isEmpty { break }
            } else if open.last != .document, let kind = BlockKind(opening: line) {
                open.append(kind)
            }
        }
        return result
    }
}
