package import Monitor

/// `--batch` and `--csv`: lines as kvm_stat's `-l` and `--csv` print them, a column a reason.
///
/// The columns are those reasons that were there at the first interval; kvm_stat's are fixed, too. A reason that comes
/// later has no column, and ``uncounted`` says how many of its exits there were.
package struct KVMStatLog: Sendable {
    package enum Form: Sendable {
        case text
        case csv
    }

    private let form: Form
    private let process: Int32?
    private var columns: [ReasonKey] = []
    private var names: [String] = []
    private var line = 0
    /// Exits since the start for which there is no column.
    package private(set) var uncounted: UInt64 = 0

    /// kvm_stat repeats its heading after so many lines.
    private static let headingPeriod = 20

    package init(_ form: Form, process: Int32? = nil) {
        self.form = form
        self.process = process
    }

    /// The lines for one interval: a heading where one is due, and the counts.
    ///
    /// - Parameter time: of the interval's end, as `2026-11-29 19:52:00`.
    package mutating func lines(_ report: HostReport, time: String) -> [String] {
        let reasons = report.reasons(Selection(process: process))
        if line == 0 {
            columns = reasons.map(\.key)
            names = columns.map { $0.kvmStatName(report.names).printable }
        }
        let counts = Dictionary(reasons.map { ($0.key, $0.count) }, uniquingKeysWith: &+)
        let known = Set(columns)
        for (key, count) in counts where !known.contains(key) { uncounted &+= count }
        var lines: [String] = []
        if line == 0 || form == .text && line % Self.headingPeriod == 0 { lines.append(heading) }
        line += 1
        switch form {
        case .text: lines.append(time + columns.map { " " + "\(counts[$0] ?? 0)".leftPadded(9) }.joined())
        case .csv: lines.append(([time] + columns.map { "\(counts[$0] ?? 0)" }).joined(separator: ","))
        }
        return lines
    }

    private var heading: String {
        switch form {
        case .text: names.map { $0 + " " }.joined()
        case .csv: (["timestamp"] + names.map(Self.csvField)).joined(separator: ",")
        }
    }

    /// Source: RFC 4180, 2.
    static func csvField(_ text: String) -> String {
        let needsQuotes = text.contains { $0 == "," || $0 == "\"" || $0.isNewline }
        return needsQuotes ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}
