import CBench
import Glibc

/// A debugger's stub in a process of its own, and a client of it over loopback; both end with this.
final class RemoteClient {
    private let pid: Int32
    private let connection: Int32
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)

    /// - Parameter arguments: what the program is started with, given the port that it is to listen at.
    init(_ program: String, _ arguments: (UInt16) -> [String]) throws {
        let port = try Self.freePort()
        pid = try Self.start(program, arguments(port))
        connection = Self.connect(port, pid)
        guard connection >= 0 else {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
            throw BenchFailure("\(program) does not listen at port \(port)")
        }
        _ = try ask("qSupported:swbreak+;hwbreak+;binary-upload+")
        _ = try ask("QStartNoAckMode")
    }

    deinit {
        close(connection)
        kill(pid, SIGTERM)
        var status: Int32 = 0
        // What does not heed it is ended otherwise.
        for _ in 0..<200 {
            if waitpid(pid, &status, WNOHANG) != 0 { return }
            usleep(10_000)
        }
        kill(pid, SIGKILL)
        waitpid(pid, &status, 0)
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// One that the system gives, and that is free again.
    private static func freePort() throws -> UInt16 {
        let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(made) }
        var address = address(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                // SAFETY: the address is a sockaddr_in of the size that is told, for these calls.
                bind(made, $0, size) == 0 ? getsockname(made, $0, &size) : -1
            }
        }
        guard result == 0 else { throw BenchFailure("no port is free (errno \(errno))") }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func start(_ program: String, _ arguments: [String]) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for number in 0..<Int32(3) {
            posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0)
        }
        var words = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let result = posix_spawnp(&pid, program, &actions, nil, &words, environ)
        guard result == 0 else { throw BenchFailure("\(program) could not be started (errno \(result))") }
        return pid
    }

    private static func connect(_ port: UInt16, _ pid: Int32) -> Int32 {
        var address = address(port)
        for _ in 0..<1000 {
            let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    // SAFETY: the address is a sockaddr_in of the size that is told, for this call.
                    Glibc.connect(made, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            var one: Int32 = 1
            setsockopt(made, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
            if result == 0 { return made }
            close(made)
            if waitpid(pid, nil, WNOHANG) != 0 { return -1 }
            usleep(10_000)
        }
        return -1
    }

    /// Sends a request, and takes one packet: its data, not unescaped.
    func ask(_ request: String) throws -> ArraySlice<UInt8> {
        try send(request)
        return try receive()
    }

    /// Ctrl-C: a byte by itself.
    func interrupt() throws {
        var byte: UInt8 = 3
        guard Glibc.send(connection, &byte, 1, Int32(MSG_NOSIGNAL)) == 1 else {
            throw BenchFailure("the stub has gone")
        }
    }

    func send(_ request: String) throws {
        let sum = request.utf8.reduce(UInt8(0), &+)
        let digits = String(sum, radix: 16)
        let packet = "$\(request)#" + (digits.count < 2 ? "0" : "") + digits
        guard Glibc.send(connection, packet, packet.utf8.count, Int32(MSG_NOSIGNAL)) == packet.utf8.count
        else {
            throw BenchFailure("the stub has gone")
        }
    }

    /// One packet's data, not unescaped.
    func receive() throws -> ArraySlice<UInt8> {
        var count = 0
        while true {
            let got = buffer.withUnsafeMutableBytes { bytes in
                // SAFETY: the part begins within the array, and ends with it.
                recv(connection, bytes.baseAddress?.advanced(by: count), bytes.count - count, 0)
            }
            guard got > 0 else { throw BenchFailure("the stub has gone") }
            count += got
            // Acknowledgements may stand before it.
            guard count >= 4, buffer[count - 3] == UInt8(ascii: "#"),
                let start = buffer[..<count].firstIndex(of: UInt8(ascii: "$"))
            else { continue }
            return buffer[(start + 1)..<(count - 3)]
        }
    }

    func expect(_ reply: String, to request: String) throws {
        let data = try ask(request)
        guard data.starts(with: reply.utf8) else {
            throw BenchFailure("\(request): \(String(decoding: data.prefix(80), as: UTF8.self))")
        }
    }
}
