import Glibc
import KVMCore

/// Reads every event from perf's rings, one a CPU, and counts them here: where programs may not be loaded.
package final class PerfSource: ExitSource {
    package let badge: SourceBadge
    package var names: ExitNames { events.names }
    private let events: KVMEvents
    private let rings: PerfRings
    private var accountant = ExitAccountant()
    private var processes: [Int32: Int32] = [:]

    /// Of each ring, in bytes: a power of two.
    static let ringSize = 1 << 21

    /// - Parameters:
    ///   - rules: the events that are counted.
    ///   - missing: why no better source is used.
    package init(rules: [EventRule] = EventRule.all, missing: [String]) throws(MonitorError) {
        events = try KVMEvents.ofThisKernel(rules)
        rings = try PerfRings(events, size: Self.ringSize)
        badge = SourceBadge(.perf, missing: missing + events.problems.values.sorted())
    }

    package func read() throws(MonitorError) -> CounterSnapshot {
        let now = monotonicTime()
        for found in rings.take() {
            switch found.what {
            case .event(let event):
                accountant.account(event)
                processes[event.thread] = found.process
            case .lost(let count): accountant.lost(count)
            }
        }
        return CounterSnapshot(
            time: now, counters: accountant.counted, losses: accountant.losses, processes: processes,
            lastExits: accountant.lastExits)
    }

    package func forget(_ threads: Set<Int32>) {
        accountant.forget(threads)
        for thread in threads { processes[thread] = nil }
    }
}
