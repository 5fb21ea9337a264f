import DebugTarget
import Debugger

/// `info exits`.
public struct ExitsOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var exit: String
        public var count: UInt64
        /// Of all exits, 0 to 1.
        public var share: Double
        /// Per second that the vCPUs ran: in KVM_RUN, or in handling its exits.
        public var rate: Double
        /// In handling.
        public var totalNanoseconds: UInt64
        public var averageNanoseconds: UInt64
        public var maximumNanoseconds: UInt64
        /// In KVM_RUN before them.
        public var guestNanoseconds: UInt64
    }

    public struct PerVCPU: Sendable, Hashable, Encodable {
        public var vcpu: Int
        public var count: UInt64
        public var totalNanoseconds: UInt64
        public var guestNanoseconds: UInt64
        public var rows: [Row]
    }

    public struct Recent: Sendable, Hashable, Encodable {
        public var number: UInt64
        public var vcpu: Int
        /// The reason with its payload.
        public var exit: String
        /// CLOCK_MONOTONIC of the return from KVM_RUN.
        public var timeNanoseconds: UInt64
        public var guestNanoseconds: UInt64
        /// Absent while it is being handled.
        public var handlingNanoseconds: UInt64?
    }

    /// All exits of a guest that another program runs; those below are of kvmscope's own steps and catches alone.
    public var host: HostExitsOutput?
    /// The kernel's own counters, where the exits below are not all that there are.
    public var kernel: KernelExits?
    public var count: UInt64
    public var totalNanoseconds: UInt64
    public var guestNanoseconds: UInt64
    /// Over all vCPUs, the most frequent first.
    public var rows: [Row]
    public var vcpus: [PerVCPU]
    /// The oldest first.
    public var recent: [Recent]

    /// Why the guest stopped, where that was an internal error of KVM's; absent otherwise.
    public var internalError: String?

    init(_ statistics: ExitStatistics, recent records: [ExitRecord], internalError: String? = nil) {
        self.internalError = internalError
        count = statistics.overall.count
        totalNanoseconds = statistics.overall.handling
        guestNanoseconds = statistics.overall.guest
        rows = Self.rows(statistics.rows, of: statistics.overall)
        vcpus = statistics.vcpus.map {
            PerVCPU(
                vcpu: $0.vcpu, count: $0.total.count, totalNanoseconds: $0.total.handling,
                guestNanoseconds: $0.total.guest, rows: Self.rows($0.rows, of: $0.total))
        }
        recent = records.map {
            Recent(
                number: $0.number, vcpu: $0.vcpu, exit: $0.text, timeNanoseconds: $0.end,
                guestNanoseconds: $0.guest, handlingNanoseconds: $0.handling)
        }
    }

    private static func rows(_ rows: [ExitStatistics.Row], of total: ExitCount) -> [Row] {
        let seconds = (Double(total.guest) + Double(total.handling)) / 1e9
        return rows.map { row in
            Row(
                exit: row.key.name, count: row.count.count,
                share: total.count == 0 ? 0 : Double(row.count.count) / Double(total.count),
                rate: seconds > 0 ? Double(row.count.count) / seconds : 0,
                totalNanoseconds: row.count.handling, averageNanoseconds: row.count.averageHandling,
                maximumNanoseconds: row.count.maximumHandling, guestNanoseconds: row.count.guest)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        let below = kernel?.lines(width: width) ?? []
        if let host {
            guard count > 0 else { return host.lines(width: width) + below }
            return host.lines(width: width)
                + [StyledLine(), StyledLine("Seen by kvmscope's own steps and catches:", .heading)]
                + seen(width: width) + below
        }
        guard count > 0 else {
            guard !below.isEmpty else { return [StyledLine("No exits yet.")] }
            return [StyledLine("No exits seen by kvmscope yet: it sees those of its own steps and catches.")]
                + below
        }
        return seen(width: width) + below
    }

    private func seen(width: Int) -> [StyledLine] {
        var result = table(rows, first: "Exit", width)
        if vcpus.count > 1 {
            for vcpu in vcpus where vcpu.count > 0 {
                result.append(StyledLine())
                result += table(vcpu.rows, first: "vCPU \(vcpu.vcpu)", width)
            }
        }
        var total = StyledLine("\(counted(count, "exit"))", .heading)
        total.append(
            ": \(shortTime(guestNanoseconds)) in KVM_RUN, \(shortTime(totalNanoseconds)) handling them")
        result.append(total)
        guard !recent.isEmpty else { return result + internalErrorLines }
        result.append(StyledLine())
        var list = TextTable(["#", "vCPU", "After", "Handled", "Exit"], rightAligned: [0, 1, 2, 3])
        for exit in recent {
            list.add([
                .init("\(exit.number)", .dim), .init("\(exit.vcpu)"), .init(shortTime(exit.guestNanoseconds)),
                .init(exit.handlingNanoseconds.map(shortTime) ?? "-"), .init(exit.exit),
            ])
        }
        return result + list.lines(width: width, dropping: [1, 3]) + internalErrorLines
    }

    private var internalErrorLines: [StyledLine] {
        internalError.map { [StyledLine($0, .error)] } ?? []
    }

    private func table(_ rows: [Row], first: String, _ width: Int) -> [StyledLine] {
        var table = TextTable(
            [first, "Count", "%", "Rate/s", "Time", "Avg", "Max", "In KVM_RUN"],
            rightAligned: [1, 2, 3, 4, 5, 6, 7])
        for row in rows {
            table.add([
                .init(row.exit, .symbol), .init(grouped(row.count)), .init(percent(row.share)),
                .init(rate(row.rate)), .init(shortTime(row.totalNanoseconds)),
                .init(shortTime(row.averageNanoseconds)), .init(shortTime(row.maximumNanoseconds)),
                .init(shortTime(row.guestNanoseconds), .dim),
            ])
        }
        return table.lines(width: width, dropping: [7, 3, 4, 6])
    }

    private func rate(_ perSecond: Double) -> String {
        guard perSecond.isFinite, perSecond < 1e15 else { return "??" }
        if perSecond >= 100 { return grouped(UInt64(perSecond.rounded())) }
        let tenths = UInt64((perSecond * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
