import CLinux
import Glibc
import Host
import KVMCore

/// Counters from descriptors of `KVM_GET_STATS_FD` that VMMs hold open: they are taken with pidfd_getfd, read, and closed
/// again. Nobody is stopped, and neither debugfs nor tracing is needed. KVM makes no such descriptor for another process
/// than the VMM, so that one that holds none shows nothing.
struct HeldStatistics: StatisticsFiles {
    private static let places = Dictionary(
        uniqueKeysWithValues: KernelCounter.names.enumerated().map { ($1, $0) })

    func values() throws(MonitorError) -> [StatisticsValue] {
        var values: [StatisticsValue] = []
        var refusal: Int32 = 0
        for process in ProcessFiles.numbers(in: "/proc") ?? [] {
            let held = (ProcessFiles(process).kvmDescriptors ?? []).filter { $0.kind == .vcpuStatistics }
            guard !held.isEmpty else { continue }
            let pidfd = clinux_pidfd_open(process)
            guard pidfd >= 0 else { continue }
            defer { close(pidfd) }
            var counted: [Int32] = []
            for (descriptor, _) in held {
                // A duplicate adds nothing.
                guard !counted.contains(where: { clinux_same_file(process, $0, descriptor) == 1 }) else {
                    continue
                }
                let taken = clinux_pidfd_getfd(pidfd, descriptor)
                guard taken >= 0 else {
                    if taken == -EPERM { refusal = -taken }
                    continue
                }
                // Its VMM may have closed it since, and something else have its number.
                guard let counters = try? StatisticsReader(owning: taken).read() else { continue }
                counted.append(descriptor)
                for counter in counters {
                    guard let place = Self.places[counter.name], counter.values.count == 1 else { continue }
                    values.append(
                        StatisticsValue(process: process, place: place, count: counter.values[0]))
                }
            }
        }
        if values.isEmpty, refusal != 0 {
            throw MonitorError(
                "descriptors of other programs may not be taken (\(String(cString: strerror(refusal))))",
                remedy: "run kvmscope as root, or with CAP_SYS_PTRACE")
        }
        return values
    }
}
