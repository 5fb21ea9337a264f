/// A command that could not be done: what was attempted, what was wrong, and what to do.
public struct CommandError: Error, Sendable, Hashable, CustomStringConvertible {
    public var message: String
    /// The line as it was typed; empty where the failure is not about a line.
    public var line: String
    /// Where in ``line`` the fault is, in characters from 0.
    public var column: Int?
    /// What was probably meant: a command, register or option name.
    public var suggestion: String?
    /// What to do about it.
    public var remedy: String?
    /// The file and line number of a sourced command, as `boot.cmd:3`.
    public var place: String?

    public init(
        _ message: String, line: String = "", column: Int? = nil, suggestion: String? = nil,
        remedy: String? = nil
    ) {
        self.message = message
        self.line = line
        self.column = column
        self.suggestion = suggestion
        self.remedy = remedy
    }

    /// All of it on one line, for logs.
    public var description: String {
        var text = place.map { "\($0): \(message)" } ?? message
        if let suggestion { text += "; did you mean `\(suggestion)`?" }
        if let remedy { text += "; \(remedy)" }
        return text
    }

    /// The message, the line with a caret under the fault, the suggestion and the remedy.
    public func lines(width: Int) -> [StyledLine] {
        var result: [StyledLine] = []
        var head = StyledLine()
        if let place { head.append("\(place): ", .dim) }
        head.append("error: ", .error)
        head.append(message)
        result.append(head)
        if let column, !line.isEmpty { result += place(of: column, width: width) }
        if let suggestion { result.append(StyledLine("did you mean `\(suggestion)`?")) }
        if let remedy { result.append(StyledLine(remedy)) }
        return result
    }

    /// The line and the caret under it; of a line that is longer than the terminal is wide, what stands around the
    /// fault.
    private func place(of column: Int, width: Int) -> [StyledLine] {
        let most = max(width - 2, 16)
        // Of a line without end, what may be shown at all: characters may be without width, but not all of so many.
        let reach = most * 4
        let skipped = max(0, column - reach)
        let start = line.index(line.startIndex, offsetBy: skipped, limitedBy: line.endIndex) ?? line.endIndex
        let end =
            line.index(start, offsetBy: column - skipped + reach, limitedBy: line.endIndex) ?? line.endIndex
        // Each character as it is shown; how far a tab goes the caret cannot know.
        let shown = line[start..<end].map { $0 == "\t" ? " " : String($0).printable }
        var before = shown.prefix(column - skipped)
        var after = shown.dropFirst(column - skipped)
        var (front, back) = ("", "")
        if skipped > 0 || end < line.endIndex || Self.columns(shown) > most {
            if skipped > 0 || Self.columns(before) > most / 2 {
                before = before.suffix(Self.fitting(before.reversed(), in: most / 2 - 1))
                front = "…"
            }
            let room = most - Self.columns(before) - front.columns
            if end < line.endIndex || Self.columns(after) > room {
                after = after.prefix(Self.fitting(after, in: room - 1))
                back = "…"
            }
        }
        let left = front + before.joined()
        var caret = StyledLine("  " + String(repeating: " ", count: left.columns))
        caret.append("^", .error)
        return [StyledLine("  " + left + after.joined() + back, .dim), caret]
    }

    private static func columns(_ pieces: some Sequence<String>) -> Int {
        pieces.reduce(0) { $0 + $1.columns }
    }

    /// How many of `pieces` have room in so many columns.
    private static func fitting(_ pieces: some Sequence<String>, in columns: Int) -> Int {
        var (count, used) = (0, 0)
        for piece in pieces {
            used += piece.columns
            if used > columns { break }
            count += 1
        }
        return count
    }
}

/// The JSON form: `{"column":…,"message":…,"place":…,"remedy":…,"suggestion":…}`, without what is absent.
extension CommandError: Encodable {
    private enum CodingKeys: String, CodingKey { case message, column, suggestion, remedy, place }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(message, forKey: .message)
        try container.encodeIfPresent(column, forKey: .column)
        try container.encodeIfPresent(suggestion, forKey: .suggestion)
        try container.encodeIfPresent(remedy, forKey: .remedy)
        try container.encodeIfPresent(place, forKey: .place)
    }
}
