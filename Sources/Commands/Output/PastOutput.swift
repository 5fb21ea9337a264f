import DebugTarget
import Debugger
import X86

/// `revisit`.
struct RevisitedStop: CommandOutput, Hashable {
    /// The stop where the guest stands.
    var latest: Int
    /// An earlier one is looked at.
    var isPast: Bool
    var stop: StopOutput?

    func lines(width: Int) -> [StyledLine] {
        let number = stop?.number ?? latest
        let head =
            isPast
            ? StyledLine(
                "Stop \(number), \(counted(latest - number, "stop")) ago: edits are refused.", .warning)
            : StyledLine("Stop \(number), the present.", .heading)
        return [head] + (stop?.lines(width: width) ?? [])
    }
}

/// `info stops`.
struct StopList: CommandOutput, Hashable {
    struct Row: Sendable, Hashable, Encodable {
        var number: Int
        var vcpu: Int
        /// As in a stop: "step", "breakpoint"...
        var reason: String
        var mode: String
        var cs: Hex
        var ip: Hex
        /// It is the one that is looked at.
        var isShown: Bool
        private var digits: Int

        private enum CodingKeys: String, CodingKey { case number, vcpu, reason, mode, cs, ip, isShown }

        init(_ stop: Stop, isShown: Bool) {
            number = stop.number
            vcpu = stop.vcpu
            reason = StopOutput.Reason(stop.reason, inRealMode: stop[stop.vcpu]?.mode == .real).kind
            let state = stop[stop.vcpu]
            mode = state?.mode.rawValue ?? "unknown"
            digits = state?.mode.offsetDigits ?? 16
            cs = Hex(state?.special.cs.selector ?? 0)
            ip = Hex(state?.registers.rip ?? 0)
            self.isShown = isShown
        }

        var cells: [StyledLine.Span] {
            [
                .init(isShown ? "=>" : "", .pc), .init("\(number)"), .init("\(vcpu)"),
                .init(Hex.digits(cs.value, width: 4) + ":" + Hex.digits(ip.value, width: digits), .address),
                .init(mode), .init(reason),
            ]
        }
    }
    var stops: [Row]

    func lines(width: Int) -> [StyledLine] {
        var table = TextTable(["", "Stop", "vCPU", "At", "Mode", "Reason"], rightAligned: [1, 2])
        for stop in stops { table.add(stop.cells) }
        return table.lines(width: width, dropping: [2, 4])
    }
}
