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
        head.append(message.printable)
        result.append(head)
        if let column, !line.isEmpty { result += place(of: column, width: width) }
        if let suggestion { result.append(StyledLine("did you mean `\(suggestion.printable)`?")) }
        if let remedy { result.append(StyledLine(remedy.printable)) }
        return result
    }

    /// The line and the caret under it; of a line that is longer than the terminal is wide, what stands around the
    /// fault.
    private func place(of column: Int, width: Int) -> [StyledLine] {
        // A tab is one character of the line and must be one column here, or the caret is off.
        func shown(_ text: some StringProtocol) -> String {
            String(text.map { $0 == "\t" ? " " : $0 }).printable
        }
        let most = max(width - 2, 16)
        var before = line.prefix(column)
        var behind = line.dropFirst(column)
        var (front, back) = ("", "")
        if line.count > most {
            if before.count > most / 2 {
                before = before.suffix(most / 2 - 1)
                front = "…"
            }
            let room = most - before.count - front.count
            if behind.count > room {
                behind = behind.prefix(room - 1)
                back = "…"
            }
        }
        let left = front + shown(before)
        var caret = StyledLine("  " + String(repeating: " ", count: left.count))
        caret.append("^", .error)
        return [StyledLine("  " + left + shown(behind) + back, .dim), caret]
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
