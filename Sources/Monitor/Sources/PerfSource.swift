/// Reads every event from perf's rings, one a CPU, and counts them here: where programs may not be loaded.
package final class PerfSource: RingSource {
    package let badge: SourceBadge
    package let events: KVMEvents
    package let reader: RingReader

    /// Of each ring, in bytes: a power of two.
    static let ringSize = 1 << 21

    /// - Parameters:
    ///   - rules: the events that are counted.
    ///   - missing: why no better source is used.
    package convenience init(rules: [EventRule] = EventRule.all, missing: [String]) throws(MonitorError) {
        try self.init(rules: rules, missing: missing, size: Self.ringSize)
    }

    init(rules: [EventRule], missing: [String], size: Int) throws(MonitorError) {
        events = try KVMEvents.ofThisKernel(rules)
        reader = try RingReader(try PerfRings(events, size: size))
        badge = SourceBadge(.perf, missing: missing + events.problems.values.sorted())
    }
}
