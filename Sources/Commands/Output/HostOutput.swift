import DebugTarget
import Debugger
import KVMCore

/// `info host`.
public struct HostOutput: CommandOutput, Hashable {
    /// One facility in all contexts.
    public struct Row: Sendable, Hashable, Encodable {
        public var facility: String
        public var name: String
        /// By context: "works", "fails" or "untried".
        public var contexts: [String: String]
        /// By context, what happened where it fails.
        public var failures: [String: String]
    }

    /// As CPUID names it; absent where KVM was not asked.
    public var vendor: String?
    /// Why nothing could be tried.
    public var obstacle: String?
    public var facilities: [Row]

    init(_ host: DebugFacilities) {
        vendor = host.vendor
        obstacle = host.obstacle?.description
        facilities = DebugFacility.allCases.map { facility in
            var row = Row(facility: facility.rawValue, name: facility.name, contexts: [:], failures: [:])
            for context in CodeContext.allCases {
                switch host[facility, context] {
                case .works: row.contexts[context.rawValue] = "works"
                case .untried: row.contexts[context.rawValue] = "untried"
                case .fails(let failure):
                    row.contexts[context.rawValue] = "fails"
                    row.failures[context.rawValue] = Self.text(failure)
                }
            }
            return row
        }
    }

    private static func text(_ failure: DebugFacilities.Failure) -> String {
        switch failure {
        case .ranOn: "the guest ran on"
        case .vector(let vector): "the guest took vector \(vector) itself"
        case .exit(.debug): "the guest stopped at another place"
        case .exit(let reason): "KVM_RUN returned with \(reason)"
        case .refused(let error): "refused: \(error)"
        case .timeout: "KVM_RUN did not come back"
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        if let obstacle {
            lines.append(StyledLine("Nothing could be tried on this host: \(obstacle.printable).", .warning))
            lines.append(StyledLine("What every KVM has is taken to work; breakpoints are done by that."))
            return lines
        }
        lines.append(
            StyledLine("What KVM honours on this host\(vendor.map { " (\($0.printable))" } ?? ""):", .heading)
        )
        let marks = ["works": "yes", "fails": "no", "untried": "-"]
        var table = TextTable(["", "real", "vm86", "prot", "prot 3", "long", "long 3", "comp 3"])
        for row in facilities {
            table.add(
                [.init(row.name)]
                    + CodeContext.allCases.map { context in
                        let finding = row.contexts[context.rawValue] ?? ""
                        return .init(marks[finding] ?? "-", finding == "fails" ? .warning : .plain)
                    })
        }
        lines += table.lines
        for row in facilities {
            var reasons: [(text: String, contexts: [String])] = []
            for context in CodeContext.allCases {
                guard let text = row.failures[context.rawValue] else { continue }
                if let place = reasons.firstIndex(where: { $0.text == text }) {
                    reasons[place].contexts.append(context.name)
                } else {
                    reasons.append((text, [context.name]))
                }
            }
            for reason in reasons {
                lines.append(
                    StyledLine(
                        "\(row.name), \(reason.contexts.joined(separator: ", ")): \(reason.text)", .dim))
            }
        }
        return lines
    }
}
