/// Where a server listens.
package enum ServerAddress: Sendable, Hashable, CustomStringConvertible {
    /// An empty host is this one alone.
    case tcp(host: String, port: UInt16)
    case unix(path: String)
    /// Standard input and output.
    case standard

    /// - Throws: what an address is.
    package init(_ text: String) throws(RemoteServerError) {
        if text == "stdio" || text == "-" {
            self = .standard
        } else if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty else { throw RemoteServerError(.badAddress, "`unix:` needs a path") }
            self = .unix(path: path)
        } else {
            guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
                !text.dropFirst().hasPrefix("+")
            else {
                throw RemoteServerError(.badAddress, "`\(text)` is no address")
            }
            var host = text[..<colon]
            // An IPv6 address stands in brackets, as in `[::1]:1234`.
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
            guard host.utf8.count <= 253, host.allSatisfy({ !$0.isWhitespace }) else {
                throw RemoteServerError(.badAddress, "`\(text)` is no address")
            }
            self = .tcp(host: String(host), port: port)
        }
    }

    package var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        case .standard: "stdio"
        }
    }

    /// Only this host can connect.
    var isLocal: Bool {
        switch self {
        case .tcp(let host, _): host.isEmpty || host == "localhost" || host.hasPrefix("127.") || host == "::1"
        case .unix, .standard: true
        }
    }
}
