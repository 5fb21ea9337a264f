package import Monitor

/// `kvmscope top --once`: the guests of the host over one interval, with the reasons of each.
package struct TopOutput: CommandOutput {
    package struct Shares: Sendable, Encodable {
        /// 0 to 1 for each vCPU; absent where they are not known.
        var guest: Double?
        var kernel: Double?
        var user: Double?
        var ready: Double?
        var asleep: Double?
    }

    package struct Guest: Sendable, Encodable {
        var process: Int32
        var name: String
        var vmm: String
        var memoryBytes: UInt64?
        /// "hardware", "userspace" or "kernel": which exits the rate counts.
        var exitLevel: String?
        var exitsPerSecond: Double?
        var interruptsPerSecond: Double?
        var time: Shares
        var vcpus: [VCPU]
        var reasons: [Reason]
        var details: [Detail]
    }

    package struct VCPU: Sendable, Encodable {
        var vcpu: Int
        var thread: Int32?
        var hostCPU: Int?
        var moves: UInt64?
        var exitsPerSecond: Double?
        var time: Shares
        var topReasons: [String]
        var lastUserspaceExit: String?
        /// Of the halts that ended, those that polling was enough for: 0 to 1.
        var polledShare: Double?
    }

    package struct Reason: Sendable, Encodable, Hashable {
        var exit: String
        var level: String
        var count: UInt64
        /// Of all of its level, 0 to 1.
        var share: Double
        var rate: Double
        /// From where to where the times go: "exitToEntry", "returnToEntry", "emulationToReturn" or "none".
        var timing: String
        var waiting: Bool
        var totalNanoseconds: UInt64?
        var meanNanoseconds: UInt64?
        var p50Nanoseconds: UInt64?
        var p99Nanoseconds: UInt64?
        var maximumNanoseconds: UInt64?
        var histogram: [Bucket]
    }

    /// Times from `fromNanoseconds` up to twice that.
    package struct Bucket: Sendable, Encodable, Hashable {
        var fromNanoseconds: UInt64
        var count: UInt64
    }

    package struct Detail: Sendable, Encodable, Hashable {
        var name: String
        var count: UInt64
        var rate: Double
    }

    var source: String
    var missing: [String]
    var losses: Losses
    /// Seconds since 1970 of the interval's end.
    var time: Double
    var seconds: Double
    var guests: [Guest]
    private let lossText: String?

    private enum CodingKeys: CodingKey {
        case source, missing, losses, time, seconds, guests
    }

    /// - Parameter process: of the only guest to be shown; nil for all.
    package init(_ report: HostReport, process: Int32? = nil) {
        source = report.badge.way.rawValue
        missing = report.missing
        losses = report.sample.losses
        lossText = report.lossText
        time = report.sample.wallTime
        seconds = report.sample.seconds
        guests = report.guests.filter { process == nil || $0.process == process }.map { guest in
            let selection = Selection(process: guest.process)
            return Guest(
                process: guest.process, name: guest.name, vmm: guest.vmm, memoryBytes: guest.ram,
                exitLevel: guest.level?.rawValue, exitsPerSecond: guest.exitsPerSecond,
                interruptsPerSecond: guest.interruptsPerSecond, time: Shares(guest.share),
                vcpus: report.vcpus(of: guest.process).map(VCPU.init),
                reasons: report.reasons(selection).map(Reason.init),
                details: report.details(selection).map {
                    Detail(name: $0.name, count: $0.count, rate: $0.rate)
                })
        }
    }

    package func lines(width: Int) -> [StyledLine] {
        var badge = StyledLine("source \(source)", .heading)
        badge.append(
            ", \(decimal(seconds)) s" + (lossText.map { "; \($0)" } ?? "; nothing lost"),
            lossText == nil ? .plain : .warning)
        var lines = [badge] + missing.map { StyledLine($0, .dim) } + [StyledLine()]
        guard !guests.isEmpty else { return lines + [StyledLine("no KVM guest runs")] }
        var table = TextTable(
            [
                "PID", "Guest", "VMM", "vCPUs", "RAM", "Exits/s", "Guest%", "Kern%", "User%", "Steal%",
                "Halt%", "Intr/s",
            ],
            rightAligned: [0, 3, 4, 5, 6, 7, 8, 9, 10, 11])
        for guest in guests {
            table.add([
                .init("\(guest.process)"), .init(guest.name, .symbol), .init(guest.vmm),
                .init("\(guest.vcpus.count)"), .init(guest.memoryBytes.map(roundSize) ?? "-"),
                .init(perSecond(guest.exitsPerSecond)), .init(percentage(guest.time.guest)),
                .init(percentage(guest.time.kernel)), .init(percentage(guest.time.user)),
                .init(percentage(guest.time.ready)), .init(percentage(guest.time.asleep)),
                .init(perSecond(guest.interruptsPerSecond)),
            ])
        }
        lines += table.lines(width: width, dropping: [2, 4, 11, 3])
        for guest in guests {
            lines += [StyledLine(), StyledLine("\(guest.name) (\(guest.process))", .heading)]
            lines += vcpuLines(guest, width: width)
            lines += reasonLines(guest, width: width)
            lines += Detail.lines(guest.details)
        }
        return lines
    }

    private func vcpuLines(_ guest: Guest, width: Int) -> [StyledLine] {
        var table = TextTable(
            [
                "vCPU", "Thread", "CPU", "Exits/s", "Guest%", "Kern%", "User%", "Steal%", "Halt%", "Polled",
                "Last", "Most",
            ],
            rightAligned: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        for vcpu in guest.vcpus {
            table.add([
                .init("\(vcpu.vcpu)"), .init(vcpu.thread.map(String.init) ?? "-"),
                .init(vcpu.hostCPU.map(String.init) ?? "-"), .init(perSecond(vcpu.exitsPerSecond)),
                .init(percentage(vcpu.time.guest)), .init(percentage(vcpu.time.kernel)),
                .init(percentage(vcpu.time.user)), .init(percentage(vcpu.time.ready)),
                .init(percentage(vcpu.time.asleep)), .init(percentage(vcpu.polledShare)),
                .init(vcpu.lastUserspaceExit ?? "-"), .init(vcpu.topReasons.joined(separator: " "), .symbol),
            ])
        }
        return table.lines(width: width, dropping: [9, 10, 2, 1])
    }

    private func reasonLines(_ guest: Guest, width: Int) -> [StyledLine] {
        guard !guest.reasons.isEmpty else {
            let words =
                exitsAreTold
                ? "no exit in \(decimal(seconds)) s" : "exits: - (see above)"
            return [StyledLine(words, .dim)]
        }
        return Reason.lines(guest.reasons, width: width)
    }

    private var exitsAreTold: Bool { source != SourceBadge.Way.proc.rawValue }
}

extension TopOutput.VCPU {
    fileprivate init(_ vcpu: HostReport.VCPU) {
        self.init(
            vcpu: vcpu.id, thread: vcpu.thread, hostCPU: vcpu.hostCPU, moves: vcpu.moves,
            exitsPerSecond: vcpu.exitsPerSecond, time: TopOutput.Shares(vcpu.share),
            topReasons: vcpu.topReasons, lastUserspaceExit: vcpu.lastExit, polledShare: vcpu.polledShare)
    }
}

extension TopOutput.Shares {
    fileprivate init(_ shares: HostReport.Shares) {
        self.init(
            guest: shares.guest, kernel: shares.kernel, user: shares.user, ready: shares.ready,
            asleep: shares.asleep)
    }
}

/// As in all tables of rates; `-` where it is not known.
package func perSecond(_ rate: Double?) -> String {
    guard let rate, rate.isFinite, rate >= 0, rate < 1e15 else { return "-" }
    return rate >= 100 || rate == 0 ? grouped(UInt64(rate.rounded())) : decimal(rate)
}

/// A share of 1 in percent, with one digit after the point below 10; `-` where it is not known.
package func percentage(_ share: Double?) -> String {
    guard let share, share.isFinite, share >= 0, share < 1e9 else { return "-" }
    return share >= 0.0995 || share == 0 ? "\(UInt64((share * 100).rounded()))" : decimal(share * 100)
}

/// With one digit after the point.
package func decimal(_ value: Double) -> String {
    guard value.isFinite, value >= 0, value < 1e15 else { return "-" }
    let tenths = UInt64((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
}

/// As `list` shows memory: rounded, as a PC lacks some of its first MiB.
package func roundSize(_ bytes: UInt64) -> String {
    func rounded(_ shift: UInt64) -> UInt64 { (bytes &+ (1 << (shift - 1))) >> shift }
    return bytes >= 10 << 30
        ? "\(rounded(30))G" : bytes >= 10 << 20 ? "\(rounded(20))M" : "\(bytes >> 10)K"
}
