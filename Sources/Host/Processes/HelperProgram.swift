import CLinux
import Glibc

/// An executable that does a part of the work in a process of its own when it gets these arguments.
///
/// It has its own session and /dev/null for its standard descriptors, so that no key and no end of a terminal reaches it,
/// and of this process one socket: that reads as ended once this process is gone, however that came.
public struct HelperProgram: Sendable, Hashable {
    public var path: String
    public var arguments: [String]

    public init(path: String, arguments: [String]) {
        self.path = path
        self.arguments = arguments
    }

    /// The helper's number of its socket.
    package static let socket: Int32 = 3

    /// The running program itself.
    public static var currentPath: String { ProcessFiles.link("/proc/self/exe") ?? "/proc/self/exe" }

    /// What could not be done, and the errno.
    package struct Refusal: Error, Sendable, Hashable {
        package var act: String
        package var errno: Int32
    }

    /// And of a file that both have, if there is one.
    package static let shared: Int32 = 4

    /// - Parameter shared: a descriptor that it gets, too; -1 for none.
    /// - Returns: its process id, to be reaped, and our end of its socket, to be closed.
    package func start(sharing shared: Int32 = -1) throws(Refusal) -> (process: Int32, socket: Int32) {
        var sockets: (Int32, Int32) = (-1, -1)
        // SAFETY: two adjacent Int32 are what socketpair fills.
        let paired = withUnsafeMutableBytes(of: &sockets) {
            clinux_socket_pair($0.bindMemory(to: Int32.self).baseAddress)
        }
        guard paired >= 0 else { throw Refusal(act: "make a socket pair", errno: -paired) }
        defer { close(sockets.1) }
        let process = withCStrings([path] + arguments) {
            clinux_spawn_detached(path, $0, sockets.1, shared)
        }
        guard process >= 0 else {
            close(sockets.0)
            throw Refusal(act: "start \(path)", errno: -process)
        }
        return (process, sockets.0)
    }
}

/// Strings as C's `argv`, for the time of a call.
package func withCStrings<R>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> R) -> R {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies.map { $0.map { UnsafePointer($0) } } + [nil])
}
