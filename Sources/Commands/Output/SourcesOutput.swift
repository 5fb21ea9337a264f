import DebugTarget
import Debugger

/// `info sources`.
struct SourcesOutput: CommandOutput, Hashable {
    struct Row: Sendable, Hashable, Encodable {
        struct Missing: Sendable, Hashable, Encodable {
            var way: String
            var reason: String
        }
        /// As ``ValueSource/Kind``.
        var kind: String
        /// Absent where it is about all.
        var vcpu: Int?
        var way: String
        /// "live", "lastExit", "lastStop", "read" or "unknown".
        var age: String
        /// Since when, where that is known.
        var ageNanoseconds: UInt64?
        /// Absent where there is nothing to compare with.
        var checked: Bool?
        var missing: [Missing]
    }
    var sources: [Row]
    /// How often the guest was stopped so far, for how long in all, and the last time.
    var standstills: UInt64?
    var standstillNanoseconds: UInt64?
    var lastStandstillNanoseconds: UInt64?
    /// From the first vCPU held to the last one, when they last stopped together; absent if they never did.
    var spreadNanoseconds: UInt64?

    init(_ sources: [ValueSource], standstills: Standstills?) {
        self.sources = sources.map { source in
            let (age, since) = source.age.named
            return Row(
                kind: source.kind.rawValue, vcpu: source.vcpu, way: source.way.rawValue, age: age,
                ageNanoseconds: since?.nanoseconds, checked: source.isChecked,
                missing: source.missing.map { Row.Missing(way: $0.way.rawValue, reason: $0.reason) })
        }
        self.standstills = standstills?.count
        standstillNanoseconds = standstills?.total.nanoseconds
        lastStandstillNanoseconds = standstills?.last.nanoseconds
        if let standstills, standstills.commonStops > 0 { spreadNanoseconds = standstills.spread.nanoseconds }
    }

    func lines(width: Int) -> [StyledLine] {
        var table = TextTable(["Values", "From", "Age", "Checked"])
        for row in sources {
            table.add([
                .init(row.label, .plain), .init(row.way, row.way == "none" ? .warning : .plain),
                .init(row.ageText, row.age == "unknown" ? .warning : .plain),
                .init(
                    row.checked.map { $0 ? "yes" : "NO" } ?? "-", row.checked == false ? .warning : .plain),
            ])
        }
        var lines = table.lines
        for row in sources {
            for missing in row.missing {
                lines.append(
                    StyledLine("\(row.label): not from \(missing.way): \(missing.reason)", .dim))
            }
        }
        if let standstills, let total = standstillNanoseconds, let last = lastStandstillNanoseconds {
            lines.append(
                StyledLine(
                    standstills == 0
                        ? "The guest has not been made to stop."
                        : "The guest was stopped \(counted(standstills, "time")), \(shortTime(total)) in all, "
                            + "\(shortTime(last)) the last time.", .dim))
        }
        if let spreadNanoseconds {
            lines.append(
                StyledLine(
                    "Its vCPUs last stopped within \(shortTime(spreadNanoseconds)) of each other.", .dim))
        }
        return lines
    }
}

extension SourcesOutput.Row {
    fileprivate var label: String {
        let name =
            switch ValueSource.Kind(rawValue: kind) {
            case .registers: "registers"
            case .otherRegisters: "debug registers, FPU, MSRs, APIC"
            case .memory: "memory"
            case .memoryMap: "memory map"
            case .statistics: "kernel counters"
            case .exits: "exits"
            case .threads: "threads"
            case nil: kind
            }
        return vcpu.map { "\(name) of vCPU \($0)" } ?? name
    }

    fileprivate var ageText: String {
        let time = ageNanoseconds.map(shortTime)
        return switch age {
        case "live": "live"
        case "lastExit": "at the last exit" + (time.map { ", the same for \($0)" } ?? "")
        case "lastStop": "at the last stop" + (time.map { ", \($0) ago" } ?? "")
        case "read": time.map { "read \($0) ago" } ?? "when read"
        default: "not to be had"
        }
    }
}

extension ValueAge {
    /// Its name in JSON, and the time that goes with it.
    var named: (name: String, since: Duration?) {
        switch self {
        case .live: ("live", nil)
        case .lastExit(let unchanged): ("lastExit", unchanged)
        case .lastStop(let since): ("lastStop", since)
        case .read(let since): ("read", since)
        case .unknown: ("unknown", nil)
        }
    }
}
