import CLinux
import Glibc
import Host

/// tracefs or debugfs: where it is mounted, else mounted for this process alone, where nobody else sees it and nothing is
/// left of it.
final class KernelFileSystem: Sendable {
    let root: String
    private let descriptor: Int32?

    init(root: String, descriptor: Int32? = nil) {
        self.root = root
        self.descriptor = descriptor
    }

    deinit { if let descriptor { close(descriptor) } }

    /// tracefs.
    static func tracing() throws(MonitorError) -> KernelFileSystem {
        try find("tracefs", ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"], has: "events")
    }

    /// tracefs where instances can be made: also where what is mounted is read-only, as in many containers.
    static func instances() throws(MonitorError) -> KernelFileSystem {
        let system = try tracing()
        guard let error = system.instancesRefusal else { return system }
        if error == EROFS {
            let result = clinux_detached_mount("tracefs")
            if result >= 0 {
                let own = KernelFileSystem(root: "/proc/self/fd/\(result)", descriptor: result)
                if own.instancesRefusal == nil { return own }
            }
        }
        throw TraceInstance.refused(error, at: system.root)
    }

    /// Why no instance can be made, as an errno.
    private var instancesRefusal: Int32? { access("\(root)/instances", W_OK | X_OK) == 0 ? nil : errno }

    static func debugging() throws(MonitorError) -> KernelFileSystem {
        try find("debugfs", ["/sys/kernel/debug"], has: "kvm")
    }

    private static func find(_ type: String, _ folders: [String], has entry: String) throws(MonitorError)
        -> KernelFileSystem
    {
        for folder in folders where access("\(folder)/\(entry)", R_OK | X_OK) == 0 {
            return KernelFileSystem(root: folder)
        }
        let folder = folders[0]
        let result = clinux_detached_mount(type)
        guard result >= 0 else {
            let reason = String(cString: strerror(-result))
            throw MonitorError(
                "\(type) cannot be read at \(folder) nor mounted (\(reason))",
                remedy: result == -ENODEV
                    ? "this kernel was built without it"
                    : "run kvmscope as root, or `mount -t \(type) nodev \(folder)` and let this user read it")
        }
        let system = KernelFileSystem(root: "/proc/self/fd/\(result)", descriptor: result)
        guard access("\(system.root)/\(entry)", R_OK | X_OK) == 0 else {
            throw MonitorError("\(type) of this kernel has no \(entry)")
        }
        return system
    }

    /// Why a file that is there may not be read.
    func refusal(_ path: String) -> MonitorError? {
        let file = open("\(root)/\(path)", O_RDONLY | O_CLOEXEC)
        guard file < 0 else {
            close(file)
            return nil
        }
        return errno == ENOENT ? nil : Self.refused(errno, at: root)
    }

    static func refused(_ error: Int32, at root: String) -> MonitorError {
        MonitorError(
            "the files in \(root) cannot be read (\(String(cString: strerror(error))))",
            remedy: error == EPERM
                ? "the kernel is locked down" : error == EACCES ? "run kvmscope as root" : nil)
    }

    /// A small file, whole; nil where it cannot be read.
    func text(_ path: String) -> String? { HostFile.text("\(root)/\(path)") }
}

enum HostFile {
    /// A small file of the kernel's, whole; nil where it cannot be read.
    static func text(_ path: String) -> String? {
        ProcessFiles.bytes(path).map { String(decoding: $0, as: UTF8.self) }
    }
}
