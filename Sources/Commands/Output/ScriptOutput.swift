/// `show user`.
public struct UserCommandList: CommandOutput, Hashable {
    public struct Entry: Sendable, Hashable, Encodable {
        public var name: String
        public var summary: String
        public var documentation: [String]
        public var lines: [String]
    }
    public var commands: [Entry]
    private var showsLines: Bool

    init(_ commands: [UserCommand], withLines: Bool = false) {
        self.commands = commands.map {
            Entry(name: $0.name, summary: $0.summary, documentation: $0.documentation, lines: $0.lines)
        }
        showsLines = withLines
    }

    private enum CodingKeys: CodingKey { case commands }

    public func lines(width: Int) -> [StyledLine] {
        guard !commands.isEmpty else {
            return [StyledLine("There are no commands of yours; `define NAME` makes one.")]
        }
        let column = commands.map(\.name.columns).max() ?? 0
        return commands.flatMap { command in
            var head = StyledLine(command.name.padded(column), .symbol)
            head.append("  " + command.summary)
            guard showsLines else { return [head] }
            return [head] + command.documentation.dropFirst().map { StyledLine($0) }
                + [StyledLine("define \(command.name)", .dim)] + command.lines.map { StyledLine("  " + $0) }
                + [StyledLine("end", .dim)]
        }
    }
}

/// `shell` and `pipe`.
public struct ShellOutput: CommandOutput, Hashable {
    /// What the program printed.
    public var text: String
    /// Absent where a signal ended it.
    public var status: Int?
    public var signal: Int?
    /// More was printed than is kept.
    public var isCut: Bool

    init(_ ending: ShellCommand.Ending) {
        text = PrintedText(ending.output).text
        status = ending.status
        signal = ending.signal
        isCut = ending.isCut
    }

    public func lines(width: Int) -> [StyledLine] {
        var all = text.split(separator: "\n", omittingEmptySubsequences: false)
        if all.last?.isEmpty == true { all.removeLast() }
        var lines = all.map { StyledLine(String($0)) }
        if isCut { lines.append(StyledLine("It printed more, which is not shown.", .dim)) }
        if let signal { lines.append(StyledLine("Signal \(signal) ended it.", .dim)) }
        if let status, status != 0 { lines.append(StyledLine("Its status is \(status).", .dim)) }
        return lines
    }
}

/// A result that is no news to a person.
struct Quiet: CommandOutput {
    private let result: any CommandOutput
    init(_ result: any CommandOutput) { self.result = result }
    func encode(to encoder: any Encoder) throws { try result.encode(to: encoder) }
    func lines(width: Int) -> [StyledLine] { [] }
}

/// A command that others belong to, as JSON has it: `if`, `while`, and one of the user's.
public struct CompoundOutput: CommandOutput {
    /// A command of those that were done within it, as ``JSONRecord`` has them.
    struct Part: Encodable, Sendable {
        var command: String
        var result: any CommandOutput

        private enum CodingKeys: CodingKey { case command, result }
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(command, forKey: .command)
            try result.encode(to: container.superEncoder(forKey: .result))
        }
    }

    /// A loop may do any number; the last ones are kept.
    static let most = 1000

    var commands: [Part] = []
    /// How many came before those.
    var omitted = 0

    public init() {}

    public var isEmpty: Bool { commands.isEmpty }

    public mutating func append(_ command: String, _ result: any CommandOutput) {
        commands.append(Part(command: command, result: result))
        // Some at once, so that each is moved a bounded number of times.
        guard commands.count >= 2 * Self.most else { return }
        omitted += commands.count - Self.most
        commands.removeFirst(commands.count - Self.most)
    }

    public func lines(width: Int) -> [StyledLine] { commands.flatMap { $0.result.lines(width: width) } }
}
