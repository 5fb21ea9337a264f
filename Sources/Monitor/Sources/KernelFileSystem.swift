import CLinux
import Glibc
import Host

/// tracefs or debugfs: where it is mounted, else mounted for this process alone, where nobody else sees it and nothing is
/// left of it.
final class KernelFileSystem: Sendable {
    let root: String
    private let descriptor: Int32?

    private init(root: String, descriptor: Int32? = nil) {
        self.root = root
        self.descriptor = descriptor
    }

    deinit { if let descriptor { close(descriptor) } }

    /// tracefs.
    static func tracing() throws(MonitorError) -> KernelFileSystem {
        try find("tracefs", ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"], has: "events")
    }

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

    /// A small file, whole; nil where it cannot be read.
    func text(_ path: String) -> String? { HostFile.text("\(root)/\(path)") }
}

enum HostFile {
    /// A small file of the kernel's, whole; nil where it cannot be read.
    static func text(_ path: String) -> String? {
        ProcessFiles.bytes(path).map { String(decoding: $0, as: UTF8.self) }
    }
}
