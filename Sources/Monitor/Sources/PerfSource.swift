import Glibc
import KVMCore

/// Reads every event from perf's rings, one a CPU, and counts them here: where programs may not be loaded.
package final class PerfSource: ExitSource {
    package let badge: SourceBadge
    package var names: ExitNames { events.names }
    private let events: KVMEvents
    private let rings: PerfRings
    private var counter = RingCounter()

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
        counter.count(rings.take())
        return counter.snapshot(at: now)
    }

    package func forget(_ threads: Set<Int32>) { counter.forget(threads) }

    package func countInstructionPointers(_ isWanted: Bool) throws(MonitorError) {
        try counter.countInstructionPointers(isWanted, events)
    }
}
