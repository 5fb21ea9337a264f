import CLinux
import Glibc
import SystemPackage

/// A socket that others connect to; a path of the file system goes away with it.
final class Listener {
    let descriptor: Int32
    /// With the port that the system chose, where none was given.
    let address: ServerAddress
    private var path: String?

    init(_ wanted: ServerAddress) throws(RemoteServerError) {
        switch wanted {
        case .tcp(let host, let port):
            let made = clinux_listen_tcp(host.isEmpty ? "127.0.0.1" : host, port)
            guard made >= 0 else {
                throw RemoteServerError("cannot listen at \(wanted)", Errno(rawValue: -made))
            }
            descriptor = made
            let real = clinux_socket_port(made)
            address = .tcp(host: host, port: UInt16(exactly: real) ?? port)
        case .unix(let path):
            var made = clinux_listen_unix(path)
            if made == -EADDRINUSE, Self.isLeftOver(path) {
                unlink(path)
                made = clinux_listen_unix(path)
            }
            guard made >= 0 else {
                throw RemoteServerError("cannot listen at \(wanted)", Errno(rawValue: -made))
            }
            descriptor = made
            address = wanted
            self.path = path
        case .standard:
            throw RemoteServerError(.badAddress, "standard input and output are no address of a session")
        }
    }

    /// A socket on which nobody listens any more. Anything else of that name is somebody's.
    private static func isLeftOver(_ path: String) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return false }
        return clinux_probe_unix(path) == -ECONNREFUSED
    }

    /// The next connection, and who it is of; nil where nobody waits.
    func accept() -> (descriptor: Int32, name: String)? {
        var name = [CChar](repeating: 0, count: 80)
        // SAFETY: the call writes a terminated string within the size that it is told.
        let made = unsafe clinux_accept(descriptor, &name, name.count)
        guard made >= 0 else { return nil }
        let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return (made, text.isEmpty ? "this host" : text)
    }

    func close() {
        Glibc.close(descriptor)
        if let path { unlink(path) }
        path = nil
    }
}
