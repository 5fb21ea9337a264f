import Monitor

/// The exits of a guest that another program runs, as the host counts them: a part of `info exits`.
public struct HostExitsOutput: Sendable, Encodable, Hashable {
    /// Where they are counted: "BPF", "perf", "debugfs"; absent where nothing counts them.
    public var source: String?
    /// Why nothing counts them.
    public var failure: String?
    /// Why values are not known.
    public var missing: [String] = []
    /// Since they were first asked for, or `exits reset`.
    public var seconds = 0.0
    /// What was lost since, in words.
    public var lost: String?
    var reasons: [TopOutput.Reason] = []
    var details: [TopOutput.Detail] = []

    init(failure: String) { self.failure = failure }

    /// - Parameter process: the guest's.
    init(_ look: HostExits.Look, process: Int32) {
        source = look.report.badge.way.rawValue
        missing = look.report.missing
        seconds = look.report.sample.seconds
        lost = look.report.lossText
        let selection = Selection(process: process)
        reasons = look.report.reasons(selection).map(TopOutput.Reason.init)
        details = look.report.details(selection).map {
            TopOutput.Detail(name: $0.name, count: $0.count, rate: $0.rate)
        }
    }

    func lines(width: Int) -> [StyledLine] {
        if let failure {
            return [StyledLine("the host does not tell the guest's exits: \(failure)", .warning)]
        }
        var title = StyledLine("On the host for \(decimal(seconds)) s, with no stop", .heading)
        title.append(" (source \(source ?? "-"), \(lost ?? "nothing lost"))", lost == nil ? .plain : .warning)
        guard !reasons.isEmpty else { return [title, StyledLine("none in that time", .dim)] }
        return [title] + TopOutput.Reason.lines(reasons, width: width) + TopOutput.Detail.lines(details)
            + missing.map { StyledLine($0, .dim) }
    }
}
