import Glibc
import Host

/// The VMs of this host as debugfs has them: a folder `kvm/PID-FD` each, with one for each vCPU in it
/// (kvm_create_vm_debugfs and kvm_create_vcpu_debugfs in virt/kvm/kvm_main.c).
struct DebugFSMachines {
    private let system: KernelFileSystem

    init(_ system: KernelFileSystem) { self.system = system }

    /// The folders, and the process of each. A folder's name has the thread that made the VM, which is the VMM's first
    /// one as a rule.
    var all: [(folder: String, process: Int32)] {
        (names ?? []).compactMap { name in
            Self.thread(name).map { (name, ProcessFiles.process(of: $0) ?? $0) }
        }
    }

    /// What changes where a VM or a vCPU comes or goes; nil where debugfs cannot be read.
    var marks: Set<String>? {
        names.map { names in
            Set(
                names.filter { Self.thread($0) != nil }.map { name in
                    var status = stat()
                    // A folder has a link more for each folder in it.
                    let isThere = stat("\(system.root)/kvm/\(name)", &status) == 0
                    return "\(name) \(isThere ? status.st_nlink : 0) \(status.st_ino)"
                })
        }
    }

    private var names: [String]? { ProcessFiles.names(in: "\(system.root)/kvm") }

    private static func thread(_ name: String) -> Int32? {
        let parts = name.split(separator: "-")
        guard parts.count == 2, Int32(parts[1]) != nil else { return nil }
        return Int32(parts[0])
    }
}
