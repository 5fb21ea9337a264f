/// What a packet is answered with.
enum RemoteReply: Equatable {
    case ok
    /// An empty packet: the request is not known.
    case unsupported
    case text(String)
    /// Text as bytes: hexadecimal digits, say.
    case bytes([UInt8])
    /// Any bytes.
    case binary([UInt8])
    case failure(RemoteFailure)
    /// The answer comes later, or never.
    case later
}

/// Why a request is not done: a number of errno for programs, and a sentence for people.
struct RemoteFailure: Error, Equatable {
    var code: UInt8
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code.rawValue
        self.message = message
    }

    /// Numbers of errno, as the protocol's file requests have them.
    enum Code: UInt8 {
        case permission = 1
        case noThread = 3
        case io = 5
        case unreadable = 14
        case busy = 16
        case malformed = 22
        case noSpace = 28
    }

    static func malformed(_ what: String) -> RemoteFailure { RemoteFailure(.malformed, "malformed \(what)") }
}
