import Foundation
import Kernels
import Testing

/// A program beside the test, with its output in a file; ended with its last reference.
///
/// By hand, as ``run(_:_:environment:seconds:)``: no signal is blocked or ignored in it, whatever the tests have.
final class Running {
    let pid: pid_t
    private let folder: TemporaryFolder
    private let input: Int32
    private var status: Int32?

    init(_ program: String, _ arguments: [String], in folder: TemporaryFolder) throws {
        self.folder = folder
        let path =
            program.contains("/")
            ? program : try #require(Host.path(of: program), "\(program) is not there")
        output = folder.url.appending(path: "out-\(UUID().uuidString)")
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        input = ends[1]
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_addopen(&actions, 1, output.path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var settings =
            ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for word in words + settings { free(word) } }
        var child: pid_t = 0
        let result = posix_spawn(&child, path, &actions, &attributes, &words, &settings)
        pid = child
        try #require(result == 0, "\(path): \(String(cString: strerror(result)))")
    }

    deinit {
        close(input)
        guard isRunning else { return }
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    var isRunning: Bool {
        guard status == nil else { return false }
        var ended: Int32 = 0
        guard waitpid(pid, &ended, WNOHANG) != 0 else { return true }
        status = ended
        return false
    }

    private let output: URL
    var text: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

    func enter(_ line: String) throws {
        let bytes = Array((line + "\n").utf8)
        try #require(write(input, bytes, bytes.count) == bytes.count)
    }

    /// Looks until `condition` holds of what it has printed; fails the test where it does not within `seconds`.
    @discardableResult
    func wait(
        _ what: String, seconds: Double = 60, sourceLocation: SourceLocation = #_sourceLocation,
        _ condition: (String) -> Bool
    ) throws -> String {
        let end = Date(timeIntervalSinceNow: seconds)
        while true {
            let text = text
            if condition(text) { return text }
            guard Date() < end else {
                Issue.record(
                    "waited \(seconds) s for \(what); it printed:\n\(text.suffix(2000))",
                    sourceLocation: sourceLocation)
                throw RealTerminal.Failed(what: what)
            }
            usleep(5_000)
        }
    }

    /// Waits for its end; the test has failed where it is still there after so long.
    func waitForEnd(seconds: Double = 120, sourceLocation: SourceLocation = #_sourceLocation) {
        let end = Date(timeIntervalSinceNow: seconds)
        while isRunning {
            guard Date() < end else {
                Issue.record(
                    "it still ran after \(seconds) s: \(text.suffix(1000))", sourceLocation: sourceLocation)
                return
            }
            usleep(5_000)
        }
    }

    func interrupt(sourceLocation: SourceLocation = #_sourceLocation) {
        if isRunning { kill(pid, SIGINT) }
        waitForEnd(sourceLocation: sourceLocation)
    }
}

/// A QEMU that waits with a boot sector, and ends when that writes port F4h.
final class WaitingQEMU {
    let running: Running
    private let socketPath: String
    private var monitor: Int32 = -1

    static let path = Host.path(of: "qemu-system-x86_64")

    /// - Parameter name: of the process, at most 15 characters.
    init(_ name: String, image: URL, options: [String] = [], in folder: TemporaryFolder) throws {
        socketPath = folder.url.appending(path: "qemu").path
        running = try Running(
            "qemu-system-x86_64",
            [
                "-accel", "kvm", "-name", "\(name),process=\(name)", "-display", "none", "-serial", "none",
                "-parallel", "none", "-net", "none", "-m", "64", "-S", "-monitor",
                "unix:\(socketPath),server=on,wait=off", "-drive", "format=raw,file=\(image.path)",
            ] + options, in: folder)
        let end = Date(timeIntervalSinceNow: 60)
        while true {
            monitor = Self.connected(socketPath)
            if monitor >= 0 { break }
            guard running.isRunning, Date() < end else {
                throw RealTerminal.Failed(what: "QEMU does not start: \(running.text)")
            }
            usleep(10_000)
        }
    }

    deinit { if monitor >= 0 { close(monitor) } }

    var pid: Int32 { running.pid }

    /// Begins.
    func go() throws {
        let line = Array("cont\n".utf8)
        guard write(monitor, line, line.count) == line.count else {
            throw RealTerminal.Failed(what: "QEMU's monitor is gone")
        }
    }

    private static func connected(_ path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // SAFETY: sun_path has 108 bytes; at most 107 and their end are written.
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: Array(path.utf8.prefix($0.count - 1)) + [0])
        }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result != 0 else { return descriptor }
        close(descriptor)
        return -1
    }
}

/// `Tests/Guests/NAME.S`, as a file.
func kernelFile(_ name: String, in folder: TemporaryFolder) throws -> URL {
    var size = 0
    // SAFETY: the call gives nil, or constant bytes as many as it says.
    let bytes = try #require(kernels_named(name, &size))
    let file = folder.url.appending(path: "\(name).img")
    try Data(bytes: bytes, count: size).write(to: file)
    return file
}
