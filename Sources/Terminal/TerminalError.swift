/// Why a terminal cannot be used, in one line that says what to do.
public struct TerminalError: Error, Sendable, Hashable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}
