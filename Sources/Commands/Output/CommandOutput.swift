/// What a command yields: a value, shown as lines by people's front ends and as JSON by `--json`.
public protocol CommandOutput: Encodable, Sendable {
    /// The value as lines for a terminal of `width` columns. A line may be longer where it cannot be folded.
    func lines(width: Int) -> [StyledLine]
}

extension CommandOutput {
    /// The value as text without styles: what programs, files and clients get.
    public func plainText(width: Int) -> String {
        if let printed = self as? PrintedText { return printed.text }
        return lines(width: width).map { $0.text + "\n" }.joined()
    }
}

/// What became of a command.
public enum Outcome: Sendable {
    case done(any CommandOutput)
    /// The guest was resumed; ``Session/collectStop(timeout:)`` has the output when it stops.
    case running(Running)
    case quit
}

/// A guest that was resumed.
public struct Running: CommandOutput, Hashable {
    /// What it does until it stops: "continue", "step", "next", "until"; "stop" once it was asked to.
    public var action: String
    /// The vCPUs that run.
    public var vcpus: [Int]
    /// The line ended in `&`: front ends that wait for stops do not wait for this one.
    public var isBackground: Bool

    public init(action: String, vcpus: [Int], isBackground: Bool = false) {
        self.action = action
        self.vcpus = vcpus
        self.isBackground = isBackground
    }

    public func lines(width: Int) -> [StyledLine] {
        guard action != "stop" else { return [StyledLine("Stopping.", .dim)] }
        let ids = vcpus.map(String.init).joined(separator: ", ")
        return [StyledLine("Running vCPU \(ids). Stop it with Ctrl-C, F12 or `stop`.", .dim)]
    }
}

/// A command that did what it was asked; what that was, as sentences.
public struct Message: CommandOutput, Hashable {
    public var message: String
    public init(_ message: String) { self.message = message }

    public func lines(width: Int) -> [StyledLine] {
        message.split(separator: "\n", omittingEmptySubsequences: false).map { StyledLine(String($0)) }
    }
}

/// A command that has nothing to say: an empty object in JSON.
public struct Silence: CommandOutput, Hashable {
    public init() {}
    public func lines(width: Int) -> [StyledLine] { [] }
}
