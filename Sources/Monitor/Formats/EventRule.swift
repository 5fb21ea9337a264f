/// What a tracepoint of KVM means for the counters, by the names of its fields. The programs in the kernel and the reader
/// of records are both made from these rules, so that they count alike.
package struct EventRule: Sendable, Hashable {
    package enum Role: Sendable, Hashable {
        /// The guest left the processor; ``CounterKind/hardwareExit``.
        case exit
        /// It is entered again: what came before is timed.
        case entry
        /// KVM_RUN returns.
        case userspaceExit
        /// Counts one of a kind.
        case count(CounterKind)
        /// Counts one of a kind, whose time is a field of the record.
        case timed(CounterKind, field: String)
    }

    /// A part of the code: of a field, its bits moved, or whether it has a value.
    package struct Part: Sendable, Hashable {
        /// The field's names, from the newest kernel's on.
        package var fields: [String]
        package var shiftRight: UInt64 = 0
        package var shiftLeft: UInt64 = 0
        package var test: Test?
        /// A kernel without the field counts all alike.
        package var isOptional = false

        package enum Test: Sendable, Hashable {
            case isSet
            case equals(UInt64)
        }
    }

    /// When the event begins the emulation of an access that may end in userspace.
    package struct Emulation: Sendable, Hashable {
        package var field: String
        /// With this value of the field the access was made before: it begins nothing.
        package var completed: UInt64
    }

    package var event: String
    package var role: Role
    /// Their bits together are the code.
    package var code: [Part] = []
    /// A record whose field has this value is not counted.
    package var ignored: (field: String, value: UInt64)? {
        // An MMIO read that userspace has to answer is told again with its answer.
        event == "kvm_mmio" ? ("type", 0) : nil
    }
    package var emulation: Emulation?
    /// Where kvm_exit has the guest's RIP.
    package var instructionPointer: String? { role == .exit ? "guest_rip" : nil }

    /// Those that tell exits and what is right behind them.
    package static let exits = all.filter {
        ["kvm_exit", "kvm_entry", "kvm_userspace_exit", "kvm_pio", "kvm_mmio", "kvm_msr"].contains($0.event)
    }

    /// All of them. Source: arch/x86/kvm/trace.h and include/trace/events/kvm.h of Linux 5.10, 6.1 and 6.18.
    package static let all: [EventRule] = [
        EventRule(
            event: "kvm_exit", role: .exit,
            code: [Part(fields: ["isa"], shiftLeft: 32), Part(fields: ["exit_reason"])]),
        EventRule(event: "kvm_entry", role: .entry),
        EventRule(event: "kvm_userspace_exit", role: .userspaceExit),
        EventRule(
            event: "kvm_pio", role: .count(.port),
            code: [Part(fields: ["rw"], shiftLeft: 32, test: .isSet), Part(fields: ["port"])],
            emulation: Emulation(field: "rw", completed: 0)),
        EventRule(
            event: "kvm_mmio", role: .count(.mmio),
            code: [
                Part(fields: ["type"], shiftLeft: 63, test: .equals(2)),
                Part(fields: ["gpa"], shiftRight: 12),
            ],
            emulation: Emulation(field: "type", completed: 1)),
        EventRule(
            event: "kvm_msr", role: .count(.msr),
            code: [Part(fields: ["write"], shiftLeft: 32, test: .isSet), Part(fields: ["ecx"])]),
        // `irq` until Linux 5.18.
        EventRule(
            event: "kvm_inj_virq", role: .count(.interrupt), code: [Part(fields: ["vector", "irq"])]),
        EventRule(event: "kvm_hypercall", role: .count(.hypercall), code: [Part(fields: ["nr"])]),
        EventRule(
            event: "kvm_halt_poll_ns", role: .count(.haltPollChange),
            code: [Part(fields: ["grow"], test: .isSet)]),
        EventRule(
            event: "kvm_page_fault", role: .count(.pageFault),
            code: [Part(fields: ["fault_address"], shiftRight: 12)]),
        EventRule(event: "kvm_cpuid", role: .count(.cpuid), code: [Part(fields: ["function"])]),
        EventRule(event: "kvm_inj_exception", role: .count(.exception), code: [Part(fields: ["exception"])]),
        EventRule(
            event: "kvm_vcpu_wakeup", role: .timed(.halt, field: "ns"),
            code: [Part(fields: ["waited"], test: .isSet)]),
    ]
}

/// A rule with the places of its fields in one kernel's records.
package struct EventLayout: Sendable, Hashable {
    package struct Part: Sendable, Hashable {
        package var field: TracepointFormat.Field
        package var rule: EventRule.Part
    }
    package var rule: EventRule
    package var id: UInt64
    package var code: [Part]
    package var ignored: (field: TracepointFormat.Field, value: UInt64)? {
        guard let ignored = rule.ignored, let field = named[ignored.field] else { return nil }
        return (field, ignored.value)
    }
    /// The fields that rules name beside the code's, by name.
    package var named: [String: TracepointFormat.Field]

    /// Why a rule cannot be used with a kernel.
    package struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        package var description: String
    }

    package init(_ rule: EventRule, _ format: TracepointFormat) throws(Problem) {
        self.rule = rule
        id = format.id
        code = []
        for part in rule.code {
            guard let field = format.field(anyOf: part.fields) else {
                if part.isOptional { continue }
                throw Self.missing(part.fields[0], format)
            }
            code.append(Part(field: try Self.number(field, format), rule: part))
        }
        named = [:]
        var needed: [String] = []
        switch rule.role {
        case .userspaceExit: needed = ["reason", "errno"]
        case .timed(_, let field): needed = [field]
        default: break
        }
        if let emulation = rule.emulation { needed.append(emulation.field) }
        if let ignored = rule.ignored { needed.append(ignored.field) }
        for name in needed {
            guard let field = format.field(name) else { throw Self.missing(name, format) }
            named[name] = try Self.number(field, format)
        }
        // Only the detail of it is lost without.
        if let name = rule.instructionPointer, let field = format.field(name) {
            named[name] = try? Self.number(field, format)
        }
    }

    private static func missing(_ field: String, _ format: TracepointFormat) -> Problem {
        Problem(description: "\(format.name) of this kernel has no field \(field)")
    }

    /// A field that a program can load: aligned, and none of the common ones that the kernel hides from programs.
    private static func number(_ field: TracepointFormat.Field, _ format: TracepointFormat) throws(Problem)
        -> TracepointFormat.Field
    {
        guard [1, 2, 4, 8].contains(field.size), field.offset >= 8, field.offset % field.size == 0 else {
            throw Problem(
                description:
                    "\(format.name) has its field \(field.name) as \(field.size) bytes at \(field.offset)")
        }
        return field
    }

    package static func == (left: EventLayout, right: EventLayout) -> Bool {
        left.rule == right.rule && left.id == right.id && left.code == right.code && left.named == right.named
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(rule)
        hasher.combine(id)
    }
}
