extension HostReport {
    /// What is behind the exits: a port, page, register, leaf, call, vector or address, with how often it was.
    package struct Detail: Sendable, Hashable {
        package var kind: CounterKind
        package var code: UInt64
        package var name: String
        package var count: UInt64
        package var rate: Double
    }

    /// The details of what is selected, the most frequent first; of a reason only what belongs to it.
    package func details(_ selection: Selection) -> [Detail] {
        var counts: [CounterKey: UInt64] = [:]
        let kinds = selection.reason.map { Self.kinds(behind: $0, names) }
        for cell in cells(of: selection) {
            guard let kind = cell.key.kind, Self.listed.contains(kind) else { continue }
            if let kinds, !kinds.contains(kind) { continue }
            if kind == .instructionPointer, let reason = selection.reason,
                cell.key.reason != UInt32(truncatingIfNeeded: reason.code) & 0xFF_FFFF
            {
                continue
            }
            // One row for all threads.
            counts[CounterKey(thread: 0, tag: cell.key.tag, code: cell.key.code), default: 0] &+=
                cell.counter.count
        }
        // The same RIP after several reasons is one.
        var rows: [Detail] = []
        var places: [CounterKey: Int] = [:]
        for (key, count) in counts {
            guard let kind = key.kind else { continue }
            let plain = CounterKey(0, kind, key.code)
            if let place = places[plain] {
                rows[place].count &+= count
            } else {
                places[plain] = rows.count
                var name = Self.name(kind, key.code)
                if kind == .instructionPointer, let symbol = symbolizer?.name(key.code) {
                    name += " <\(symbol)>"
                }
                rows.append(Detail(kind: kind, code: key.code, name: name, count: count, rate: 0))
            }
        }
        for index in rows.indices where sample.seconds > 0 {
            rows[index].rate = Double(rows[index].count) / sample.seconds
        }
        return rows.sorted { ($1.count, $0.kind.rawValue, $0.code) < ($0.count, $1.kind.rawValue, $1.code) }
    }

    private static let listed: Set<CounterKind> = [
        .port, .mmio, .msr, .interrupt, .hypercall, .pageFault, .cpuid, .exception, .instructionPointer,
    ]

    /// The kinds of details that a reason can have.
    private static func kinds(behind reason: ReasonKey, _ names: ExitNames) -> Set<CounterKind> {
        let name = reason.name(names)
        switch reason.level {
        case .userspace:
            return switch name {
            case "IO": [.port]
            case "MMIO": [.mmio]
            case "X86_RDMSR", "X86_WRMSR": [.msr]
            case "HYPERCALL": [.hypercall]
            default: []
            }
        case .hardware:
            let behind: Set<CounterKind> =
                switch name {
                case "IO_INSTRUCTION", "io": [.port]
                case "MSR_READ", "MSR_WRITE", "MSR_READ_IMM", "MSR_WRITE_IMM", "msr": [.msr]
                case "CPUID", "cpuid": [.cpuid]
                case "VMCALL", "hypercall": [.hypercall]
                case "EPT_VIOLATION", "npf": [.pageFault, .mmio]
                case "EPT_MISCONFIG", "APIC_ACCESS", "APIC_WRITE": [.mmio]
                case "EXCEPTION_NMI": [.exception, .pageFault]
                case "INTERRUPT_WINDOW", "vintr": [.interrupt]
                default: name.hasSuffix("excp") ? [.exception] : []
                }
            return behind.union([.instructionPointer])
        case .kernel: return []
        }
    }

    /// As `0x3f8 out`.
    package static func name(_ kind: CounterKind, _ code: UInt64) -> String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        return switch kind {
        case .port: "port \(hex(code & 0xFFFF)) \(code & CounterKey.write == 0 ? "in" : "out")"
        case .mmio:
            "MMIO \(hex(code << 12)) \(code & CounterKey.mmioWrite == 0 ? "read" : "write")"
        case .msr: "MSR \(hex(code & 0xFFFF_FFFF)) \(code & CounterKey.write == 0 ? "read" : "write")"
        case .interrupt: "interrupt \(hex(code))"
        case .hypercall: "hypercall \(hex(code))"
        case .pageFault: "page fault \(hex(code << 12))"
        case .cpuid: "CPUID leaf \(hex(code))"
        case .exception: "exception \(code)"
        case .instructionPointer: "RIP \(hex(code))"
        default: hex(code)
        }
    }

    // MARK: What is not known

    /// Why values are not known, a sentence each; empty where all are.
    package var missing: [String] {
        var lines = badge.missing
        let hasExits = sample.cells.contains { $0.key.kind == .hardwareExit }
        let hasReturns = sample.cells.contains { $0.key.kind == .userspaceExit }
        if badge.way != .proc, !badge.countsOnly, hasReturns, !hasExits {
            lines.append(
                "no kvm_exit has fired: exits are returns of KVM_RUN, and times go from the access that the kernel "
                    + "emulated to that return")
        }
        if sample.shares.values.contains(where: { $0.ready == nil }) {
            lines.append("ready and asleep: this kernel keeps no schedstat")
        }
        let unknown = sample.guests.reduce(0) { $0 + $1.vcpus.count { $0.thread == nil } }
        if unknown > 0 {
            lines.append("\(unknown) vCPU\(unknown == 1 ? "" : "s"): no thread is known that runs them")
        }
        let unowned = unownedExits
        if unowned > 0 {
            lines.append(
                "\(unowned) exit\(unowned == 1 ? "" : "s") of no guest here: of one that came and ended between two looks, "
                    + "or that may not be looked into")
        }
        if sample.hiddenProcesses > 0 {
            lines.append(
                "\(sample.hiddenProcesses) processes of other users could not be looked into: run as root to see their "
                    + "guests")
        }
        return lines
    }

    /// What was lost in this interval, as one line; nil where nothing was.
    package var lossText: String? {
        let losses = sample.losses
        let parts = [
            (losses.records, "records lost"), (losses.unkept, "events with no room in the tables"),
            (losses.unpaired, "exits without an entry"), (losses.restarted, "counters began anew"),
        ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
