package import Monitor

/// The totals as metrics, in Prometheus' text format or in OpenMetrics'. No one text is accepted by the readers of both:
/// they differ in the names of counters, in units and in how they end.
package struct Metrics {
    package enum Form: Sendable {
        /// For the textfile collector and `promtool check metrics`. Source: prometheus.io, "Exposition formats".
        case prometheus
        /// Source: OpenMetrics 1.0.
        case openMetrics
    }

    private enum Kind: String {
        case counter, gauge, histogram, info
    }

    private let form: Form
    private var text = ""

    /// The whole text.
    package static func text(
        _ totals: MonitorTotals, names: ExitNames, badge: SourceBadge, form: Form
    ) -> String {
        var metrics = Metrics(form: form)
        metrics.put(totals, names, badge)
        return form == .openMetrics ? metrics.text + "# EOF\n" : metrics.text
    }

    private init(form: Form) { self.form = form }

    private mutating func put(_ totals: MonitorTotals, _ names: ExitNames, _ badge: SourceBadge) {
        let guests = totals.guests.sorted { $0.key < $1.key }
        head("kvmscope_source", .info, "Where the counts of exits come from.")
        sample("kvmscope_source_info", [("source", badge.way.rawValue)], "1")
        head("kvmscope_guest", .info, "A KVM guest of this host.")
        for (process, guest) in guests {
            sample("kvmscope_guest_info", Self.labels(process, guest) + [("vmm", guest.vmm)], "1")
        }
        head("kvmscope_guest_vcpus", .gauge, "How many vCPUs the guest has.")
        for (process, guest) in guests {
            sample("kvmscope_guest_vcpus", Self.labels(process, guest), "\(guest.vcpuCount)")
        }
        head("kvmscope_guest_memory_bytes", .gauge, "RAM of the guest.", unit: "bytes")
        for (process, guest) in guests {
            // One that is not known has no sample.
            guard let ram = guest.ram else { continue }
            sample("kvmscope_guest_memory_bytes", Self.labels(process, guest), "\(ram)")
        }
        putVCPUs(guests, names)
        putTimes(guests, names)
        head("kvmscope_lost_events", .counter, "Events that were not counted or not timed.")
        for (kind, count) in [
            ("records", totals.losses.records), ("no_room", totals.losses.unkept),
            ("unpaired", totals.losses.unpaired), ("restarted", totals.losses.restarted),
        ] { sample("kvmscope_lost_events_total", [("kind", kind)], "\(count)") }
    }

    private mutating func putVCPUs(_ guests: [(key: Int32, value: MonitorTotals.Guest)], _ names: ExitNames) {
        head(
            "kvmscope_exits", .counter,
            "Exits by reason: VM exits, returns of KVM_RUN, or the kernel's own counters.")
        for (process, guest) in guests {
            let labels = Self.labels(process, guest)
            for (vcpu, own) in guest.vcpus.sorted(by: { $0.key < $1.key }) {
                for (reason, count) in Self.sorted(own.reasons, names) {
                    sample(
                        "kvmscope_exits_total",
                        labels + [("vcpu", "\(vcpu)")] + Self.labels(reason, names), "\(count)")
                }
            }
            for (reason, counter) in Self.sorted(guest.reasons, names) where reason.level == .kernel {
                sample("kvmscope_exits_total", labels + Self.labels(reason, names), "\(counter.count)")
            }
        }
        head("kvmscope_interrupts", .counter, "Interrupts injected into the guest.")
        for (process, guest) in guests {
            for (vcpu, own) in guest.vcpus.sorted(by: { $0.key < $1.key }) {
                sample(
                    "kvmscope_interrupts_total", Self.labels(process, guest) + [("vcpu", "\(vcpu)")],
                    "\(own.interrupts)")
            }
        }
        head(
            "kvmscope_vcpu_time_seconds", .counter,
            "Time of the vCPU's thread: in the guest, in the kernel, in the VMM, and ready to run without a CPU.",
            unit: "seconds")
        for (process, guest) in guests {
            for (vcpu, own) in guest.vcpus.sorted(by: { $0.key < $1.key }) {
                for (mode, seconds) in [
                    ("guest", own.guest), ("kernel", own.kernel), ("user", own.user), ("ready", own.ready),
                ] {
                    guard let seconds else { continue }
                    sample(
                        "kvmscope_vcpu_time_seconds_total",
                        Self.labels(process, guest) + [("vcpu", "\(vcpu)"), ("mode", mode)], "\(seconds)")
                }
            }
        }
    }

    private mutating func putTimes(_ guests: [(key: Int32, value: MonitorTotals.Guest)], _ names: ExitNames) {
        head(
            "kvmscope_exit_time_seconds", .histogram,
            "How long exits took: to the next entry, or where timing says so in the kernel's emulation.",
            unit: "seconds")
        for (process, guest) in guests {
            let labels = Self.labels(process, guest)
            for (reason, counter) in Self.sorted(guest.reasons, names) where counter.mean != nil {
                let timing: HostReport.Timing = reason.level == .hardware ? .exitToEntry : .returnToEntry
                histogram(counter, labels + Self.labels(reason, names) + [("timing", timing.rawValue)])
            }
            for (code, counter) in guest.emulation.sorted(by: { $0.key < $1.key }) where counter.mean != nil {
                histogram(
                    counter,
                    labels + Self.labels(ReasonKey(.userspace, code), names)
                        + [("timing", HostReport.Timing.emulationToReturn.rawValue)])
            }
        }
    }

    private mutating func histogram(_ counter: Counter, _ labels: [(String, String)]) {
        var below: UInt64 = 0
        // From half a microsecond to half a minute; what is beyond is in the buckets at the ends.
        for bucket in 0..<Histogram.bucketCount {
            below &+= counter.histogram[bucket]
            guard (8...34).contains(bucket) else { continue }
            let bound = Double(sign: .plus, exponent: bucket + 1, significand: 1) / 1e9
            sample("kvmscope_exit_time_seconds_bucket", labels + [("le", "\(bound)")], "\(below)")
        }
        sample("kvmscope_exit_time_seconds_bucket", labels + [("le", "+Inf")], "\(below)")
        sample("kvmscope_exit_time_seconds_sum", labels, "\(Double(counter.time) / 1e9)")
        sample("kvmscope_exit_time_seconds_count", labels, "\(below)")
    }

    // MARK: The text

    private mutating func head(_ name: String, _ kind: Kind, _ help: String, unit: String? = nil) {
        switch form {
        case .openMetrics:
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
            if let unit { text += "# UNIT \(name) \(unit)\n" }
        case .prometheus:
            let (suffix, known): (String, Kind) =
                switch kind {
                case .counter: ("_total", .counter)
                case .info: ("_info", .gauge)
                case .gauge, .histogram: ("", kind)
                }
            text += "# HELP \(name)\(suffix) \(help)\n# TYPE \(name)\(suffix) \(known.rawValue)\n"
        }
    }

    private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
        let list = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        text += list.isEmpty ? "\(name) \(value)\n" : "\(name){\(list)} \(value)\n"
    }

    /// Of both formats, after what would drive a terminal is shown by number.
    static func escaped(_ value: String) -> String {
        value.printable.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    }

    private static func labels(_ process: Int32, _ guest: MonitorTotals.Guest) -> [(String, String)] {
        [("guest", guest.name), ("pid", "\(process)")]
    }

    private static func labels(_ reason: ReasonKey, _ names: ExitNames) -> [(String, String)] {
        [("level", reason.level.rawValue), ("reason", reason.name(names))]
    }

    private static func sorted<Value>(
        _ reasons: [ReasonKey: Value], _ names: ExitNames
    ) -> [(key: ReasonKey, value: Value)] {
        reasons.sorted {
            ($0.key.level.rawValue, $0.key.name(names), $0.key.code)
                < ($1.key.level.rawValue, $1.key.name(names), $1.key.code)
        }
    }
}
