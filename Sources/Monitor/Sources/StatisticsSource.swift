package import Host
import KVMCore

/// The kernel's own counters: counts since a vCPU was made, by the kernel's categories, with no times.
package final class StatisticsSource: ExitSource {
    package let badge: SourceBadge
    package let names = ExitNames(exit: nil, userspaceExit: nil)
    private let files: any StatisticsFiles

    /// - Parameter missing: why no better source is used.
    package convenience init(debugFS missing: [String]) throws(MonitorError) {
        self.init(files: DebugFSStatistics(try KernelFileSystem.debugging()), .statistics, missing: missing)
    }

    /// - Parameter missing: why no better source is used.
    package convenience init(descriptors missing: [String]) {
        self.init(files: HeldStatistics(), .descriptors, missing: missing)
    }

    init(files: any StatisticsFiles, _ way: SourceBadge.Way, missing: [String]) {
        self.files = files
        badge = SourceBadge(way, missing: missing)
    }

    package func read() throws(MonitorError) -> CounterSnapshot {
        let now = monotonicTime()
        // A process may have several VMs: its counters are added up.
        var sums: [CounterKey: Counter] = [:]
        for value in try files.values() {
            let key = CounterKey(value.process, .kernelCounter, UInt64(value.place))
            sums[key, default: Counter()].add(Counter(count: value.count))
        }
        return CounterSnapshot(time: now, counters: sums.map { (key: $0.key, counter: $0.value) })
    }
}

/// Where the kernel shows its counters.
protocol StatisticsFiles: Sendable {
    /// All of them, as they stand.
    ///
    /// - Throws: where nothing may be read; where there is just nothing it is empty.
    func values() throws(MonitorError) -> [StatisticsValue]
}

/// A counter of a VM or of one of its vCPUs.
struct StatisticsValue: Sendable, Hashable {
    var process: Int32
    /// In ``KernelCounter/names``.
    var place: Int
    var count: UInt64
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
    ///   - keeper: removes a trace instance where this process is killed.
    package static func open(
        _ allowed: Set<SourceBadge.Way> = Set(SourceBadge.Way.allCases), rules: [EventRule] = EventRule.all,
        keeper: HelperProgram = TraceInstanceKeeper.current
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
        if allowed.contains(.tracefs) {
            do {
                return try TraceFSSource(rules: rules, missing: missing, keeper: keeper)
            } catch {
                missing.append("no trace buffers: \(error)")
            }
        }
        if allowed.contains(.statistics) {
            do {
                let source = try StatisticsSource(debugFS: missing + ["only counts: no times, no vCPUs"])
                _ = try source.read()
                return source
            } catch {
                missing.append("no counters in debugfs: \(error)")
            }
        }
        if allowed.contains(.descriptors) {
            let source = StatisticsSource(
                descriptors: missing + [
                    "only counts, of VMMs that hold their statistics open, as QEMU does from 8.0 on: no times, no vCPUs"
                ])
            do {
                // Where no VMM does so there is nothing to fall back on.
                if try allowed == [.descriptors] || !source.read().counters.isEmpty { return source }
                missing.append("no VMM holds statistics of KVM open")
            } catch {
                missing.append("no statistics of VMMs: \(error)")
            }
        }
        guard allowed.contains(.proc) else {
            throw MonitorError(missing.joined(separator: "; "))
        }
        return ProcSource(missing: missing + ["no exits at all: only the time of threads"])
    }
}
