import DebugTarget
import Debugger
import Expressions
import KVMCore

/// `detach`: what was put back.
struct DetachOutput: CommandOutput, Hashable {
    var target: String
    var process: Int32
    var threads: Int
    var guestDebug: Int
    var runPages: Int
    var patchedBytes: Int
    var standstillNanoseconds: UInt64?

    init(target: String, _ detachment: Detachment) {
        self.target = target
        process = detachment.process
        threads = detachment.threads
        guestDebug = detachment.guestDebug
        runPages = detachment.runPages
        patchedBytes = detachment.patchedBytes
        standstillNanoseconds = detachment.standstill?.nanoseconds
    }

    func lines(width: Int) -> [StyledLine] {
        var facts = ["kvm_run of \(counted(runPages, "vCPU")) put back"]
        facts.append(
            guestDebug > 0
                ? "breakpoints and guest debug of \(counted(guestDebug, "vCPU")) off"
                : "guest debug was off")
        if patchedBytes > 0 {
            facts.append("\(counted(patchedBytes, "patched byte")) of guest memory put back")
        }
        facts.append(
            threads > 0 ? "\(counted(threads, "thread")) no longer traced" : "no thread was traced")
        if let standstillNanoseconds {
            facts.append("the guest had been stopped for \(shortTime(standstillNanoseconds))")
        }
        return [
            StyledLine("Detached from \(target): it goes on.", .heading),
            StyledLine(facts.joined(separator: "; ") + ".", .dim),
        ]
    }
}

/// `info stats`.
struct StatisticsOutput: CommandOutput, Hashable {
    struct Value: Sendable, Hashable, Encodable {
        var name: String
        /// "cumulative", "instant", "peak", "linearHistogram", "logHistogram" or "other".
        var kind: String
        /// "", "B", "s", "cycles", "boolean": to be multiplied by radix to the power of exponent.
        var unit: String
        var radix: Int
        var exponent: Int
        /// One, or a histogram's buckets.
        var values: [UInt64]
    }
    struct Block: Sendable, Hashable, Encodable {
        /// Absent for the VM's own.
        var vcpu: Int?
        var name: String
        var values: [Value]
    }
    var blocks: [Block]
    /// Those with a 0 are shown too.
    private var showsAll: Bool

    private enum CodingKeys: String, CodingKey { case blocks }

    init(_ statistics: [KernelStatistics], matching word: String?) {
        let word = word?.lowercased()
        showsAll = word != nil
        blocks = statistics.map { block in
            Block(
                vcpu: block.vcpu, name: block.name,
                values: block.values.filter { word.map($0.name.lowercased().contains) ?? true }.map(
                    Value.init))
        }
    }

    func lines(width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        for block in blocks {
            let shown = block.values.filter { showsAll || $0.values.contains { $0 != 0 } }
            guard !shown.isEmpty else { continue }
            var head = StyledLine(block.vcpu.map { "vCPU \($0)" } ?? "VM", .heading)
            head.append("  " + block.name, .dim)
            lines.append(head)
            let room = shown.map(\.name.count).max() ?? 0
            for value in shown {
                let gap = String(repeating: " ", count: room - value.name.count + 2)
                lines.append(StyledLine("  \(value.name)\(gap)\(value.text)"))
            }
        }
        return lines.isEmpty
            ? [StyledLine(showsAll ? "No counter has that in its name." : "All are 0.")] : lines
    }
}

extension StatisticsOutput.Value {
    init(_ statistic: Statistic) {
        name = statistic.name
        kind =
            switch statistic.kind {
            case .cumulative: "cumulative"
            case .instant: "instant"
            case .peak: "peak"
            case .linearHistogram: "linearHistogram"
            case .logHistogram: "logHistogram"
            case .other: "other"
            }
        unit =
            switch statistic.unit {
            case .none, .other: ""
            case .bytes: "B"
            case .seconds: "s"
            case .cycles: "cycles"
            case .boolean: "boolean"
            }
        radix = statistic.radix
        exponent = Int(statistic.exponent)
        values = statistic.values
    }

    fileprivate var text: String {
        guard values.count == 1 else {
            // Of a histogram, the buckets that have something.
            let filled = values.enumerated().filter { $0.element != 0 }.map { bucket, count in
                "\(bucketName(bucket)): \(grouped(count))"
            }
            return filled.isEmpty ? "0" : filled.joined(separator: "  ")
        }
        if unit == "boolean" { return values[0] != 0 ? "yes" : "no" }
        if unit == "s", radix == 10, exponent == -9 { return shortTime(values[0]) }
        return grouped(values[0]) + (unit.isEmpty ? "" : " " + scale + unit)
    }

    /// Buckets of a logarithmic histogram by the least value that they count.
    private func bucketName(_ bucket: Int) -> String {
        guard kind == "logHistogram", bucket > 0, bucket < 64 else { return "[\(bucket)]" }
        let least = UInt64(1) << UInt64(bucket - 1)
        return unit == "s" && exponent == -9 ? "from \(shortTime(least))" : "from \(grouped(least))"
    }

    private var scale: String { exponent == 0 ? "" : "x \(radix)^\(exponent) " }
}

/// What a command did, and how long another program's guest was stopped for it.
struct StoodStill: CommandOutput {
    var result: any CommandOutput
    var standstill: UInt64
    /// How far apart its vCPUs came to a stop for it; nil where one is alone.
    var spread: UInt64?

    init(_ result: any CommandOutput, _ standstill: Duration, spread: Duration?) {
        self.result = result
        self.standstill = standstill.nanoseconds
        self.spread = spread?.nanoseconds
    }

    private enum CodingKeys: String, CodingKey { case standstillNanoseconds, spreadNanoseconds }

    /// The result's own keys, and one more: every result is an object.
    func encode(to encoder: any Encoder) throws {
        try result.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(standstill, forKey: .standstillNanoseconds)
        try container.encodeIfPresent(spread, forKey: .spreadNanoseconds)
    }

    func lines(width: Int) -> [StyledLine] {
        var text = "The guest was stopped for \(shortTime(standstill))"
        if let spread { text += ", its vCPUs stopped within \(shortTime(spread)) of each other" }
        return result.lines(width: width) + [StyledLine(text + ".", .dim)]
    }
}
