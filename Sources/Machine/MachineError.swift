public import DebugTarget

/// What a machine could not do: what was attempted, what was wrong, what to do.
public struct MachineError: AdvisedError, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// The image cannot be read: missing, a directory, no permission.
        case unreadable
        case empty
        /// The image contradicts itself or its format.
        case malformed
        /// A kind of image that this machine does not run.
        case unsupported
        /// Larger than it may be, or than the RAM where it goes.
        case oversized
        /// A setting that makes no machine: RAM size, number of vCPUs, an address.
        case configuration
        case noVCPU
        /// The guest runs, and this needs it stopped.
        case running
        case thread
    }
    public var code: Code
    public var message: String
    /// What to do, where that is the same in every front end.
    public var remedy: String?
    /// What to do by a front end's options and commands.
    public var advice: Advice?

    public init(_ code: Code, _ message: String, remedy: String? = nil, advice: Advice? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.advice = advice
    }

    public var description: String { remedy.map { "\(message); \($0)" } ?? message }
}
