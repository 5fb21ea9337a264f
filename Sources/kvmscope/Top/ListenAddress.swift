import ArgumentParser

/// `--listen [HOST:]PORT`. Without a host it is this machine's own, which no other machine reaches.
struct ListenAddress: ExpressibleByArgument, CustomStringConvertible, Equatable {
    var host: String
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard let last = parts.last, let port = UInt16(last), last.allSatisfy(\.isNumber) else { return nil }
        self.port = Int(port)
        guard parts.count > 1 else {
            host = "127.0.0.1"
            return
        }
        var name = argument.dropLast(last.count + 1)
        // An address of version 6 stands in brackets.
        if parts.count > 2 {
            guard name.first == "[", name.last == "]" else { return nil }
            name = name.dropFirst().dropLast()
        }
        guard !name.isEmpty else { return nil }
        host = String(name)
    }

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// No other machine reaches it.
    var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}
