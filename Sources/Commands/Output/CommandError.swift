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
        if let column, !line.isEmpty {
            // A tab is one character of the line and must be one column here, or the caret is off.
            let shown = String(line.map { $0 == "\t" ? " " : $0 }).printable
            let prefix = String(line.prefix(column).map { $0 == "\t" ? " " : $0 }).printable
            result.append(StyledLine("  " + shown, .dim))
            var caret = StyledLine("  " + String(repeating: " ", count: prefix.count))
            caret.append("^", .error)
            result.append(caret)
        }
        if let suggestion { result.append(StyledLine("did you mean `\(suggestion)`?")) }
        if let remedy { result.append(StyledLine(remedy)) }
        return result
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
