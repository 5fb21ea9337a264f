/// A command of the user's own, from `define`.
struct UserCommand: Sendable, Hashable {
    var name: String
    var body: [Statement]
    /// As it was written, for `show user`.
    var lines: [String]
    /// From `document`; the first line is the summary.
    var documentation: [String] = []

    var summary: String { documentation.first ?? "a command of yours" }
}

/// The user's commands and hooks, by name. A hook is a command whose name begins with `hook-` or `hookpost-`.
struct UserCommands: Sendable {
    /// More are a script that went wrong.
    static let most = 10_000

    private(set) var all: [String: UserCommand] = [:]

    subscript(name: String) -> UserCommand? { all[name] }

    var names: [String] { all.keys.sorted() }

    mutating func set(_ command: UserCommand) throws(CommandError) {
        guard all[command.name] != nil || all.count < Self.most else {
            throw CommandError("there are \(Self.most) commands of yours already")
        }
        var command = command
        command.documentation = all[command.name]?.documentation ?? []
        all[command.name] = command
    }

    mutating func document(_ name: String, _ lines: [String]) { all[name]?.documentation = lines }

    enum HookTime: String {
        case before = "hook-"
        case after = "hookpost-"
    }

    func hook(_ time: HookTime, _ name: String) -> UserCommand? {
        all.isEmpty ? nil : all[time.rawValue + name.replacing(" ", with: "-")]
    }
}

/// The words that a user's command was called with.
struct CallArguments: Sendable, Hashable {
    var words: [String]

    /// A line is not made longer than this.
    static let longest = 1 << 16

    /// Puts `$argc`, `$arg0`... and `$arg*` in place, as GDB does: as text, wherever they stand.
    func expanded(_ line: String) throws(CommandError) -> String {
        guard line.contains("$arg") else { return line }
        var result = ""
        var rest = line[...]
        while let start = rest.firstRange(of: "$arg") {
            result += rest[..<start.lowerBound]
            let name = rest[start.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }
            if rest[start.upperBound...].first == "*" {
                result += words.joined(separator: " ")
                rest = rest[start.upperBound...].dropFirst()
                continue
            }
            rest = rest[name.endIndex...]
            if name == "c" {
                result += "\(words.count)"
            } else if let index = Int(name), name.allSatisfy(\.isNumber) {
                guard words.indices.contains(index) else {
                    throw CommandError(
                        "$arg\(index) was not given", line: line,
                        column: line.distance(from: line.startIndex, to: start.lowerBound),
                        remedy: "the command was called with \(counted(words.count, "argument"))")
                }
                result += words[index]
            } else {
                result += "$arg" + name
            }
            guard result.utf8.count <= Self.longest else {
                throw CommandError("with its arguments the line is longer than \(Self.longest) bytes")
            }
        }
        return result + rest
    }
}
