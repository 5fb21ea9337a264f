/// A row of the command table: everything that parsing, help, completion and the reference need.
public struct Command: Sendable {
    /// What a command is about; the chapters of help and of the reference, in this order.
    public enum Category: String, Sendable, Hashable, CaseIterable {
        case running = "Running"
        case breakpoints = "Breakpoints"
        case registers = "Registers"
        case memory = "Memory and expressions"
        case code = "Code and stack"
        case symbols = "Symbols and source"
        case tables = "Tables and state"
        case vcpus = "vCPUs"
        case exits = "Exits and devices"
        case scripts = "Scripts and programs"
        case other = "Other"
    }

    /// What completes an argument.
    public enum CompletionKind: Sendable, Hashable {
        case none, register, settable, file, breakpoint, vcpu, command
        /// Registers as `$rax` and symbols, inside an expression.
        case expression
        case symbol
        /// One of these.
        case words([String])
    }

    /// A line as typed and what it does.
    public struct Example: Sendable, Hashable {
        public var line: String
        public var meaning: String
        public init(_ line: String, _ meaning: String) {
            self.line = line
            self.meaning = meaning
        }
    }

    typealias Action = @Sendable (Session, Invocation) throws(CommandError) -> Outcome

    /// The canonical name, of one or two words.
    public var name: String
    /// Other names, of one or two words.
    public var aliases: [String]
    /// The arguments, as `[N]` or `ADDR LEN`; empty for none.
    public var arguments: String
    public var category: Category
    /// One line without a full stop.
    public var summary: String
    /// Whole sentences; may be empty.
    public var details: String
    public var examples: [Example]
    /// One for each argument; the last stands for all that follow.
    public var completion: [CompletionKind]
    /// Enter alone does it again.
    public var isRepeatable: Bool
    /// `/FMT` may follow the name.
    public var takesFormat: Bool
    /// It may be given while the guest runs.
    public var worksWhileRunning: Bool
    let action: Action

    init(
        _ name: String, _ aliases: [String] = [], _ arguments: String = "", _ category: Category,
        _ summary: String, details: String = "", examples: [Example] = [],
        completion: [CompletionKind] = [], repeatable: Bool = false, format: Bool = false,
        whileRunning: Bool = false, action: @escaping Action
    ) {
        self.name = name
        self.aliases = aliases
        self.arguments = arguments
        self.category = category
        self.summary = summary
        self.details = details
        self.examples = examples
        self.completion = completion
        self.isRepeatable = repeatable
        self.takesFormat = format
        self.worksWhileRunning = whileRunning
        self.action = action
    }

    /// The canonical name first.
    public var names: [String] { [name] + aliases }
    /// The name with its format and arguments, as help shows it.
    public var usage: String {
        var usage = name
        if takesFormat { usage += "[/FMT]" }
        if !arguments.isEmpty { usage += " " + arguments }
        return usage
    }

    /// What completes the argument `index`.
    func completion(at index: Int) -> CompletionKind {
        index < completion.count ? completion[index] : completion.last ?? .none
    }
}
