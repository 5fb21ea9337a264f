import Glibc
import Host
import KVMCore

/// The kernel's own counters of each VM, from debugfs: counts since the VM was made, by the kernel's categories, with no
/// times and no vCPUs.
package final class StatisticsSource: ExitSource {
    package let badge: SourceBadge
    package let names = ExitNames(exit: nil, userspaceExit: nil)
    private let files: any StatisticsFiles

    /// - Parameter missing: why no better source is used.
    package convenience init(missing: [String]) throws(MonitorError) {
        self.init(files: DebugFSStatistics(try KernelFileSystem.debugging()), missing: missing)
    }

    init(files: any StatisticsFiles, missing: [String]) {
        self.files = files
        badge = SourceBadge(.statistics, missing: missing)
    }

    package func read() throws(MonitorError) -> CounterSnapshot {
        var counters: [(key: CounterKey, counter: Counter)] = []
        for machine in files.machines() {
            for (place, name) in KernelCounter.names.enumerated() {
                guard let text = files.value(machine, name),
                    let value = UInt64(text.prefix { !$0.isWhitespace })
                else { continue }
                counters.append(
                    (CounterKey(machine.process, .kernelCounter, UInt64(place)), Counter(count: value)))
            }
        }
        if counters.isEmpty, let problem = files.problem() { throw MonitorError(problem) }
        let now = monotonicTime()
        // A process may have several VMs: its counters are added up.
        var sums: [CounterKey: Counter] = [:]
        for (key, counter) in counters { sums[key, default: Counter()].add(counter) }
        return CounterSnapshot(
            time: now,
            counters: sums.map { (key: $0.key, counter: $0.value) })
    }
}

/// The folders of VMs in debugfs.
protocol StatisticsFiles: Sendable {
    func machines() -> [StatisticsMachine]
    func value(_ machine: StatisticsMachine, _ name: String) -> String?
    /// Why nothing can be read; nil where there is just nothing.
    func problem() -> String?
}

/// A VM in debugfs.
struct StatisticsMachine: Sendable, Hashable {
    /// `PID-FD`: of the thread that made the VM, which is the VMM's first one as a rule.
    var folder: String
    var process: Int32
}

struct DebugFSStatistics: StatisticsFiles {
    private let system: KernelFileSystem

    init(_ system: KernelFileSystem) { self.system = system }

    func machines() -> [StatisticsMachine] {
        guard let stream = opendir("\(system.root)/kvm") else { return [] }
        defer { closedir(stream) }
        var machines: [StatisticsMachine] = []
        while let entry = readdir(stream) {
            // SAFETY: d_name ends with a zero byte inside the entry, which lives until the next readdir.
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            let parts = name.split(separator: "-")
            guard parts.count == 2, let thread = Int32(parts[0]), Int32(parts[1]) != nil else { continue }
            machines.append(StatisticsMachine(folder: name, process: Self.process(of: thread) ?? thread))
        }
        return machines
    }

    private static func process(of thread: Int32) -> Int32? {
        HostFile.text("/proc/\(thread)/status")?.split(separator: "\n").first { $0.hasPrefix("Tgid:") }
            .flatMap { Int32($0.dropFirst(5).drop { $0.isWhitespace }) }
    }

    func value(_ machine: StatisticsMachine, _ name: String) -> String? {
        system.text("kvm/\(machine.folder)/\(name)")
    }

    func problem() -> String? {
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

    private func refused(_ error: Int32) -> String {
        "the counters in \(system.root)/kvm cannot be read (\(String(cString: strerror(error))))"
            + (error == EPERM ? ": the kernel is locked down" : "")
    }
}

/// No exits: only how the threads of guests spend their time is known.
package final class ProcSource: ExitSource {
    package let badge: SourceBadge
    package let names = ExitNames(exit: nil, userspaceExit: nil)

    package init(missing: [String]) { badge = SourceBadge(.proc, missing: missing) }

    package func read() -> CounterSnapshot {
        let now = monotonicTime()
        return CounterSnapshot(
            time: now, counters: [])
    }
}

/// The best source that this host and user have.
package enum BestSource {
    /// - Parameters:
    ///   - allowed: the ways that may be taken; all, as a rule.
    ///   - rules: the events that are counted. Each takes the kernel some 80 ms to end.
    package static func open(
        _ allowed: Set<SourceBadge.Way> = Set(SourceBadge.Way.allCases), rules: [EventRule] = EventRule.all
    ) throws(MonitorError) -> any ExitSource {
        var missing: [String] = []
        if allowed.contains(.bpf) {
            do {
                return try BPFSource(rules: rules)
            } catch {
                missing.append("no BPF: \(error)")
            }
        }
        if allowed.contains(.perf) {
            do {
                return try PerfSource(rules: rules, missing: missing)
            } catch {
                missing.append("no perf rings: \(error)")
            }
        }
        if allowed.contains(.statistics) {
            do {
                let source = try StatisticsSource(missing: missing + ["only counts: no times, no vCPUs"])
                _ = try source.read()
                return source
            } catch {
                missing.append("no counters in debugfs: \(error)")
            }
        }
        guard allowed.contains(.proc) else {
            throw MonitorError(missing.joined(separator: "; "))
        }
        return ProcSource(missing: missing + ["no exits at all: only the time of threads"])
    }
}
