import Debugger
import Expressions

/// One display and what it shows.
public struct DisplayRow: Sendable, Hashable, Encodable {
    /// What `x` or `print` gave.
    enum Value: Sendable, Hashable, Encodable {
        case memory(MemoryOutput)
        case strings(StringsOutput)
        case code(CodeOutput)
        case print(PrintOutput)

        init?(_ output: any CommandOutput) {
            switch output {
            case let output as MemoryOutput: self = .memory(output)
            case let output as StringsOutput: self = .strings(output)
            case let output as CodeOutput: self = .code(output)
            case let output as PrintOutput: self = .print(output)
            default: return nil
            }
        }

        private var output: any CommandOutput {
            switch self {
            case .memory(let output): output
            case .strings(let output): output
            case .code(let output): output
            case .print(let output): output
            }
        }

        func encode(to encoder: any Encoder) throws { try output.encode(to: encoder) }
        func lines(width: Int) -> [StyledLine] { output.lines(width: width) }
    }

    /// Why it shows nothing.
    struct Failure: Sendable, Hashable {
        var message: String
        /// In the expression.
        var offset: Int?
        /// The fault is at a place in the text.
        var isSyntax: Bool { offset.map { $0 > 0 } ?? false || message.contains("expected") }
    }

    public var number: Int
    public var format: String
    public var expression: String
    var value: Value?
    /// Why it could not be shown.
    public var error: String?
    var failure: Failure?

    private enum CodingKeys: String, CodingKey { case number, format, expression, value, error }

    init(number: Int, format: String, expression: String) {
        self.number = number
        self.format = format
        self.expression = expression
    }

    func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("\(number): ", .dim)
        head.append(format.isEmpty ? expression : "\(format) \(expression)", .symbol)
        if let error {
            head.append(" = ")
            head.append(error, .warning)
            return [head]
        }
        guard let value else { return [head] }
        let shown = value.lines(width: width)
        // A number stands on the line of its name; memory has lines of its own.
        guard case .print = value, let first = shown.first else { return [head] + shown }
        head.append(" = ")
        head.append(first)
        return [head]
    }
}

/// `display`.
public struct DisplaysShown: CommandOutput, Hashable {
    public var displays: [DisplayRow]

    public func lines(width: Int) -> [StyledLine] { displays.flatMap { $0.lines(width: width) } }
}

/// `info display`.
public struct DisplayList: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var number: Int
        public var format: String
        public var expression: String
    }

    public var displays: [Row]

    public func lines(width: Int) -> [StyledLine] {
        guard !displays.isEmpty else { return [StyledLine("No displays.")] }
        var table = TextTable(["Num", "Format", "Expression"], rightAligned: [0])
        for row in displays {
            table.add([.init(String(row.number)), .init(row.format), .init(row.expression)])
        }
        return table.lines
    }
}
