/// What the commands of a session may do on the host, beside the guest.
public struct HostAccess: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Read and write files that a command names.
    public static let files = HostAccess(rawValue: 1)
    /// Run programs: `shell` and `pipe`.
    public static let programs = HostAccess(rawValue: 2)
    public static let all: HostAccess = [.files, .programs]
}
