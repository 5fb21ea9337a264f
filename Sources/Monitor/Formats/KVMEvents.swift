/// KVM's tracepoints on this kernel: those that can be used, and why others cannot.
package struct KVMEvents: Sendable {
    package private(set) var layouts: [EventLayout] = []
    /// By event.
    package private(set) var problems: [String: String] = [:]
    package private(set) var names: ExitNames
    /// Where every record has its thread, as the host numbers it.
    let thread: TracepointFormat.Field?

    /// - Parameter format: the text of an event's `format` file; nil where there is none.
    package init(rules: [EventRule] = EventRule.all, format: (_ event: String) -> String?) {
        var formats: [String: TracepointFormat] = [:]
        for rule in rules {
            guard let text = format(rule.event) else {
                problems[rule.event] = "this kernel has no event \(rule.event)"
                continue
            }
            do {
                let format = try TracepointFormat(text)
                formats[rule.event] = format
                layouts.append(try EventLayout(rule, format))
            } catch {
                problems[rule.event] = "\(rule.event): \(error)"
            }
        }
        // The common fields of all events are the same.
        thread = formats.values.first?.field("common_pid")
        names = ExitNames(exit: formats["kvm_exit"], userspaceExit: formats["kvm_userspace_exit"])
    }

    /// Those of the kernel that runs.
    static func ofThisKernel(_ rules: [EventRule]) throws(MonitorError) -> KVMEvents {
        let tracing = try KernelFileSystem.tracing()
        let events = KVMEvents(rules: rules) { tracing.text("events/kvm/\($0)/format") }
        guard !events.layouts.isEmpty else {
            if let refusal = tracing.refusal("available_events") { throw refusal }
            throw MonitorError(
                "this kernel has none of KVM's tracepoints",
                remedy: "load kvm_intel or kvm_amd; a kernel without CONFIG_TRACEPOINTS has none")
        }
        return events
    }

    package func layout(_ event: String) -> EventLayout? { layouts.first { $0.rule.event == event } }
}
