/// What a piece of text means. How it looks is the front end's choice; nothing is told by it alone.
public enum Style: String, Sendable, Hashable, CaseIterable {
    case plain, heading, dim, address, value, mnemonic, symbol
    /// A value that differs from the stop before; the text carries a `*` too.
    case changed
    /// A flag that is set; the text is in upper case too.
    case flagSet
    /// The line of the next instruction; the text carries an arrow too.
    case pc
    case warning, error
}

/// One line of output: text in spans of one style each. Whatever is put in, what a terminal gets is ``printable``.
public struct StyledLine: Sendable, Hashable {
    public struct Span: Sendable, Hashable {
        public fileprivate(set) var text: String
        public var style: Style
        public init(_ text: String, _ style: Style = .plain) {
            self.text = text.printable
            self.style = style
        }
    }

    public private(set) var spans: [Span] = []

    public init() {}
    public init(_ text: String, _ style: Style = .plain) { append(text, style) }

    /// The line without its styles.
    public var text: String { spans.map(\.text).joined() }
    /// How many columns of a terminal it takes.
    public var columns: Int { spans.reduce(0) { $0 + $1.text.columns } }

    /// Adds text; a span of the same style grows.
    public mutating func append(_ text: String, _ style: Style = .plain) {
        guard !text.isEmpty else { return }
        if let last = spans.last, last.style == style {
            spans[spans.count - 1].text += text.printable
        } else {
            spans.append(Span(text, style))
        }
    }

    public mutating func append(_ line: StyledLine) {
        for span in line.spans { append(span.text, span.style) }
    }

    /// Adds the mark of what changed since the stop before, or a space in its place.
    mutating func appendMark(_ isChanged: Bool) {
        append(isChanged ? "*" : " ", isChanged ? .changed : .plain)
    }

    /// Adds spaces up to `column`; one at least, so that neighbours never touch.
    public mutating func pad(to column: Int) {
        append(String(repeating: " ", count: max(1, column - columns)))
    }

    /// The line for a terminal: with SGR sequences (ECMA-48, 8.3.117) if `color`, else the text alone.
    public func rendered(color: Bool) -> String {
        guard color else { return text }
        return spans.map { span in
            guard let sgr = span.style.sgr else { return span.text }
            return "\u{1B}[\(sgr)m\(span.text)\u{1B}[0m"
        }.joined()
    }
}

extension Style {
    /// The SGR parameters, from the eight colours that every colour terminal has; nil for plain text.
    fileprivate var sgr: String? {
        switch self {
        case .plain, .value: nil
        case .heading: "1"
        case .dim: "2"
        case .address: "36"
        case .mnemonic: "32"
        case .symbol: "35"
        case .changed: "1;33"
        case .flagSet: "1"
        case .pc: "1;32"
        case .warning: "33"
        case .error: "1;31"
        }
    }
}

extension String {
    /// The text, ``printable``, with spaces after it up to `width`.
    func padded(_ width: Int) -> String {
        let text = printable
        return text + String(repeating: " ", count: max(0, width - text.columns))
    }

    /// The text, ``printable``, with spaces before it up to `width`.
    func leftPadded(_ width: Int) -> String {
        let text = printable
        return String(repeating: " ", count: max(0, width - text.columns)) + text
    }
}
