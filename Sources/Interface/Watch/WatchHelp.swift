import Monitor

/// The keys and what the columns are.
enum WatchHelp {
    /// - Parameter isPrecise: percentiles are known better than to a power of two.
    static func lines(isPrecise: Bool) -> [(key: String, text: String)] {
        [
            ("", "Moving"),
            ("\u{2191} \u{2193} PgUp PgDn", "the row"), ("Enter", "into a guest, a vCPU, a reason"),
            ("Esc Backspace", "the filter off, then out; at the top, back to now"),
            ("Tab x F5", "another table of the same"),
            ("b", "all guests"), ("g p", "a guest by its process id or name"),
            ("", "Time"),
            ("\u{2190} \u{2192} Home End", "look at another second; the mouse does, too; End is now"),
            ("Space", "freeze everything; sorting and looking go on"), ("s", "seconds between samples"),
            ("r", "forget what was seen so far"),
            ("", "What is shown"),
            ("f / F3 F4", "only rows of this table that match, and the graph of them;"),
            (" ", "that over exits applies to rates and graphs everywhere"), ("c", "the filter off"),
            ("o > F6", "the next order; < the one before; I the other way round"),
            ("P M T N", "order by CPU time, memory, time, PID, as in htop"),
            ("q F10", "quit; in this help F10 and Ctrl-C do, and q closes it"),
            ("", "Columns"),
            ("Gst Krn Usr", "time of the vCPU's threads in guest, kernel and VMM;"),
            (" ", "100 is a whole vCPU"),
            ("Stl", "ready to run, and another thread had the CPU"),
            ("Hlt", "asleep: halted, or held by the VMM"),
            ("Poll", "halts that ended while the kernel polled"),
            isPrecise
                ? ("p50 p99 Max", "to one percent; of older seconds, and of more than")
                : ("p50 p99", "to a power of two"),
            isPrecise
                ? (" ", "2,048 vCPUs' reasons, to a power of two")
                : ("Max", "of this second; to a power of two if one before was longer"),
            ("waiting", "the guest waits in it (HLT): no handling"),
            ("userspace", "from the return of KVM_RUN to the next entry"),
            ("emulation", "from the access to the return: no kvm_exit fires here"),
            ("latency", "a digit is how many digits the count has: 3 is hundreds"),
            ("-", "not known; below is why"),
            ("", "What was lost, beside the source"),
            ("lost", "events that a ring of perf's or tracefs' had no room for"),
            ("no room", "events of threads or keys that the tables had no room for:"),
            (" ", "not counted"),
            ("unpaired", "exits that no entry followed before the next: counted,"),
            (" ", "not timed"),
            ("restarted", "thread ids that another thread has now, and counters that"),
            (" ", "were reset: both are counted from zero again. In that one"),
            (" ", "second their counts and times may be too few, or of both"),
            (" ", "threads together; the seconds after it are right"),
        ]
    }
}

extension WatchModel {
    /// Why something is not known stands below the rest.
    private var reasons: [String] { report?.missing ?? badge.missing }
    private var helpLines: [(key: String, text: String)] { WatchHelp.lines(isPrecise: badge.hasPreciseTimes) }
    var helpLength: Int { helpLines.count + reasons.count }

    func drawHelp(_ brush: inout Brush) {
        let lines = helpLines
        let all = lines.map { ($0.key, $0.text) } + reasons.map { ("", $0) }
        let rows = max(1, min(all.count, size.height - 4))
        let columns = min(78, size.width)
        let area = Rect(
            x: (size.width - columns) / 2, y: max(0, (size.height - rows - 2) / 2), width: columns,
            height: rows + 2)
        brush.move(to: area)
        for y in 0..<area.height {
            let isEdge = y == 0 || y == area.height - 1
            brush.go(0, y)
            brush.put(scalar: y == 0 ? 0x250C : isEdge ? 0x2514 : 0x2502, .border)
            while brush.x < area.width - 1 { brush.put(scalar: isEdge ? 0x2500 : 0x20, .border) }
            brush.put(scalar: y == 0 ? 0x2510 : isEdge ? 0x2518 : 0x2502, .border)
        }
        brush.go(2, 0)
        brush.put(" Help ", .title)
        let first = max(0, min(helpScroll, all.count - rows))
        brush.go(2, area.height - 1)
        let left = all.count - first - rows
        let keys = "q closes, F10 quits"
        let long = " arrows scroll, \(keys)\(left > 0 ? "; \(left) more" : "") "
        brush.put(long.utf8.count + 4 <= columns ? long : " \(keys) ", .dim)
        brush.move(to: Rect(x: area.x + 1, y: area.y + 1, width: columns - 2, height: rows))
        for (row, line) in all.dropFirst(first).prefix(rows).enumerated() {
            brush.go(1, row)
            if line.0.isEmpty {
                brush.put(line.1, row + first < lines.count ? .title : .warning)
            } else {
                brush.put(line.0, Look(.key, .bold))
                brush.go(16, row)
                brush.put(line.1)
            }
        }
        brush.setCursor(onScreen: nil)
    }
}
