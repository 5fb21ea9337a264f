package import Host

/// Reads every event from the buffers of a trace instance of its own, and counts them here: where neither programs may be
/// loaded nor perf's rings be opened.
package final class TraceFSSource: RingSource {
    package let badge: SourceBadge
    package let events: KVMEvents
    package let reader: RingReader

    /// Of each CPU's buffer, in bytes.
    static let bufferSize = 1 << 21

    /// - Parameters:
    ///   - rules: the events that are counted.
    ///   - missing: why no better source is used.
    ///   - keeper: removes the instance where this process is killed.
    package convenience init(
        rules: [EventRule] = EventRule.all, missing: [String],
        keeper: HelperProgram = TraceInstanceKeeper.current
    ) throws(MonitorError) {
        try self.init(rules: rules, missing: missing, keeper: keeper, size: Self.bufferSize)
    }

    init(rules: [EventRule], missing: [String], keeper: HelperProgram, size: Int) throws(MonitorError) {
        guard CounterProgram.PIDNamespace.own == nil else {
            throw MonitorError(
                "trace buffers name threads as the host does, and this program is in a PID namespace of its own",
                remedy: "run it in the host's, as with `docker run --pid=host`")
        }
        let system = try KernelFileSystem.instances()
        events = try KVMEvents.ofThisKernel(rules)
        let rings = try TraceRings(events, system, keeper: keeper, size: size)
        let problems = Array(events.problems.values) + rings.problems.values
        reader = try RingReader(rings)
        badge = SourceBadge(.tracefs, missing: missing + problems.sorted())
    }
}
