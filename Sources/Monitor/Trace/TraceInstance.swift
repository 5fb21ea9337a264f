import CLinux
import Glibc
package import Host

/// An instance of tracefs: a trace buffer with events of its own, which nobody else reads or changes. It is removed with
/// its last reference, and also where this process is killed: ``TraceInstanceKeeper`` does that.
final class TraceInstance {
    let name: String
    private let system: KernelFileSystem
    private let keeper: (process: Int32, socket: Int32)

    /// Before the process, what tells it from a later one of its number, and a number of its own.
    static let prefix = "kvmscope-"

    /// - Parameter keeper: removes it where this process ends without doing so.
    init(_ system: KernelFileSystem, keeper: HelperProgram) throws(MonitorError) {
        self.system = system
        Self.removeStale(system)
        let own = "\(getpid())-\(ProcessFiles(getpid()).startTime ?? 0)"
        let name = "\(Self.prefix)\(own)-\(String(UInt32.random(in: 0 ... .max), radix: 16))"
        self.name = name
        // It comes first: whenever this process ends, somebody is there to remove what it has made.
        let started: (process: Int32, socket: Int32)
        do {
            var program = keeper
            program.arguments.append(name)
            started = try program.start()
        } catch {
            throw MonitorError(
                "nobody would remove a trace instance if this program were killed: cannot \(error.act) "
                    + "(\(String(cString: strerror(error.errno))))")
        }
        guard mkdir("\(system.root)/instances/\(name)", 0o700) == 0 else {
            let error = errno
            Self.end(started)
            throw Self.refused(error, at: system.root)
        }
        self.keeper = started
    }

    deinit {
        Self.remove(name, system)
        Self.end(keeper)
    }

    private static func end(_ keeper: (process: Int32, socket: Int32)) {
        close(keeper.socket)
        // It has nothing left to do, unless somebody still reads the instance.
        _ = clinux_reap_within(keeper.process, 3000)
    }

    /// - Returns: whether it is gone; false where somebody still has it open.
    @discardableResult
    static func remove(_ name: String, _ system: KernelFileSystem) -> Bool {
        rmdir("\(system.root)/instances/\(name)") == 0 || errno == ENOENT
    }

    /// Those of programs that have ended. One that is read, by a program of another PID namespace, the kernel keeps.
    static func removeStale(_ system: KernelFileSystem) {
        for name in ProcessFiles.names(in: "\(system.root)/instances") ?? [] where isStale(name) {
            remove(name, system)
        }
    }

    /// An instance of this program's whose process is there no more, or is another one by now.
    static func isStale(_ name: String) -> Bool {
        guard name.hasPrefix(prefix) else { return false }
        let parts = name.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, let process = Int32(parts[0]), process > 0, let start = UInt64(parts[1])
        else { return false }
        return ProcessFiles(process).startTime != start
    }

    // MARK: Its files

    func path(_ file: String) -> String { "\(system.root)/instances/\(name)/\(file)" }

    func text(_ file: String) -> String? { HostFile.text(path(file)) }

    /// - Returns: 0 or an errno.
    func write(_ text: String, to file: String) -> Int32 {
        let descriptor = open(path(file), O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        // SAFETY: the bytes live through the call.
        return text.withCString { Glibc.write(descriptor, $0, strlen($0)) } < 0 ? errno : 0
    }

    // MARK: What stands in the way

    static func refused(_ error: Int32, at root: String) -> MonitorError {
        let reason = String(cString: strerror(error))
        switch error {
        case ENOENT:
            return MonitorError(
                "tracefs of this kernel (\(root)) has no instances, and its only buffer is others' as well",
                remedy: "Linux 3.10 and later have them")
        case EACCES, EPERM:
            return MonitorError(
                "no instance can be made in \(root)/instances (\(reason))",
                remedy: "run kvmscope as root, or let this user write there")
        case EROFS:
            return MonitorError(
                "\(root) is mounted read-only",
                remedy: "`mount -o remount,rw \(root)`; in a container it takes CAP_SYS_ADMIN")
        default: return MonitorError("no instance can be made in \(root)/instances (\(reason))")
        }
    }
}

/// Removes a trace instance once the program that made it has ended, however that came: a process of its own that waits for
/// the end of its socket.
package enum TraceInstanceKeeper {
    /// The hidden argument that makes an executable be the keeper; the instance's name follows.
    package static let argument = "--trace-instance-keeper"

    /// The running program itself as a keeper.
    package static var current: HelperProgram {
        HelperProgram(path: HelperProgram.currentPath, arguments: [argument])
    }

    /// A program that was killed gives back what it read the instance by a moment after its sockets, or later where a system
    /// call keeps it: in milliseconds.
    private static let (pause, limit) = (20, 60_000)

    package static func main(_ name: String) {
        _ = clinux_name_thread("kvmscope-trace")
        // What ends the program from outside may be meant for the keeper, too: it ends by itself, a moment later.
        guard clinux_hold_signals() >= 0, TraceInstance.isName(name),
            let system = try? KernelFileSystem.instances()
        else { return }
        var byte: UInt8 = 0
        // Nothing is ever sent.
        while clinux_receive(HelperProgram.socket, &byte, 1, 1) > 0 {}
        for _ in 0..<limit / pause {
            if TraceInstance.remove(name, system) || errno != EBUSY { return }
            usleep(UInt32(pause) * 1000)
        }
    }
}

extension TraceInstance {
    /// A name that is one folder's, and that this program has made.
    fileprivate static func isName(_ name: String) -> Bool { name.hasPrefix(prefix) && !name.contains("/") }
}
