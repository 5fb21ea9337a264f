/// What is wrong with an expression, or with its evaluation.
public struct ExpressionError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        case syntax
        case unknownName
        case outOfRange
        /// What the expression asks for is not to be had, or not allowed, where it is evaluated.
        case refused
        /// No more of something.
        case limit
        /// Guest memory that nothing backs, or that is not mapped.
        case unreadable
        /// The context failed; ``ExpressionError/cause`` says how.
        case context
    }

    public var code: Code
    public var message: String
    /// Where in the text given, in Characters from its start; for a caret.
    public var column: Int?
    /// What to do.
    public var remedy: String?
    /// What the context of the evaluation threw.
    public var cause: (any Error & Sendable)?

    public init(_ code: Code, _ message: String, column: Int? = nil, remedy: String? = nil) {
        self.code = code
        self.message = message
        self.column = column
        self.remedy = remedy
    }

    /// A failure of the context that an expression is evaluated in.
    public init(_ cause: any Error & Sendable) {
        self.init(.context, "\(cause)")
        self.cause = cause
    }

    public var description: String { remedy.map { "\(message); \($0)" } ?? message }

    public static func == (one: ExpressionError, other: ExpressionError) -> Bool {
        one.code == other.code && one.message == other.message && one.column == other.column
            && one.remedy == other.remedy
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(code)
        hasher.combine(message)
    }
}
