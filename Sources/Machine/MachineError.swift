/// What a machine could not do: what was attempted, what was wrong, what to do.
public struct MachineError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// The image cannot be read: missing, a directory, no permission.
        case unreadable
        case empty
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
    public var remedy: String?

    public init(_ code: Code, _ message: String, remedy: String? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
    }

    public var description: String { remedy.map { "\(message); \($0)" } ?? message }
}
