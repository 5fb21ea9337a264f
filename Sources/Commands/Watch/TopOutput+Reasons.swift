import Monitor

extension TopOutput.Reason {
    init(_ reason: HostReport.Reason) {
        self.init(
            exit: reason.name, level: reason.key.level.rawValue, count: reason.count, share: reason.share,
            rate: reason.rate, timing: reason.timing.rawValue, waiting: reason.isWaiting,
            totalNanoseconds: reason.time, meanNanoseconds: reason.mean, p50Nanoseconds: reason.p50,
            p99Nanoseconds: reason.p99, maximumNanoseconds: reason.maximum,
            histogram: reason.histogram.filled.map {
                TopOutput.Bucket(fromNanoseconds: Histogram.range(of: $0.bucket).lowerBound, count: $0.count)
            })
    }

    private var title: String {
        switch level {
        case ReasonKey.Level.hardware.rawValue: "kvm_exit(\(exit))" + (waiting ? " waiting" : "")
        case ReasonKey.Level.userspace.rawValue: "kvm_userspace_exit(\(exit))"
        default: exit
        }
    }

    /// A table of them.
    static func lines(_ reasons: [TopOutput.Reason], width: Int) -> [StyledLine] {
        var table = TextTable(
            ["Exit", "Count", "%", "Rate/s", "Time", "Mean", "p50", "p99", "Max"],
            rightAligned: [1, 2, 3, 4, 5, 6, 7, 8])
        for reason in reasons {
            func time(_ value: UInt64?) -> StyledLine.Span { .init(value.map(shortTime) ?? "-") }
            table.add([
                .init(reason.title, .symbol), .init(grouped(reason.count)), .init(percentage(reason.share)),
                .init(perSecond(reason.rate)), time(reason.totalNanoseconds), time(reason.meanNanoseconds),
                time(reason.p50Nanoseconds), time(reason.p99Nanoseconds), time(reason.maximumNanoseconds),
            ])
        }
        return table.lines(width: width, dropping: [6, 4, 2])
    }
}

extension TopOutput.Detail {
    /// The most frequent ones on one line; none where there are none.
    static func lines(_ details: [TopOutput.Detail]) -> [StyledLine] {
        guard !details.isEmpty else { return [] }
        let shown = details.prefix(10).map { "\($0.name) \(grouped($0.count))" }
        let rest = details.count > 10 ? ", \(details.count - 10) more" : ""
        return [StyledLine("at " + shown.joined(separator: ", ") + rest, .dim)]
    }
}
