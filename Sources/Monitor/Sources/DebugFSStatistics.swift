import Glibc
import Host

/// The folders of VMs in debugfs, `kvm/PID-FD`: each file has the sum over the VM's vCPUs.
struct DebugFSStatistics: StatisticsFiles {
    private let system: KernelFileSystem

    init(_ system: KernelFileSystem) { self.system = system }

    func values() throws(MonitorError) -> [StatisticsValue] {
        var values: [StatisticsValue] = []
        for (folder, process) in DebugFSMachines(system).all {
            for (place, name) in KernelCounter.names.enumerated() {
                guard let text = system.text("kvm/\(folder)/\(name)"), let count = Self.number(text) else {
                    continue
                }
                values.append(StatisticsValue(process: process, place: place, count: count))
            }
        }
        if values.isEmpty, let problem = problem() { throw MonitorError(problem) }
        return values
    }

    /// The number that a file begins with; nil for anything else.
    static func number(_ text: String) -> UInt64? { UInt64(text.prefix { !$0.isWhitespace }) }

    /// Why nothing can be read; nil where there is just nothing.
    private func problem() -> String? {
        let file = open("\(system.root)/kvm/exits", O_RDONLY | O_CLOEXEC)
        guard file < 0 else {
            var byte: UInt8 = 0
            // SAFETY: one byte is read into one byte.
            let result = Glibc.read(file, &byte, 1)
            let error = errno
            close(file)
            // Kernel lockdown lets these be opened by nobody, or be opened and not read.
            return result < 0 ? refused(error) : nil
        }
        return errno == ENOENT ? nil : refused(errno)
    }

    private func refused(_ error: Int32) -> String { Self.refused(error, at: "\(system.root)/kvm") }

    static func refused(_ error: Int32, at folder: String) -> String {
        "the counters in \(folder) cannot be read (\(String(cString: strerror(error))))"
            + (error == EPERM ? ": the kernel is locked down" : "")
    }
}
