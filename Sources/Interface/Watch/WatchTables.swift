import Commands
import GuestView
import Monitor

/// A column of a table: its heading, how wide it is at least, and whether it can be left out, the highest number first.
private struct Column {
    var title: String
    var width: Int
    /// 0 is always there.
    var rank: Int
    var isText = false
    /// It has what is left of the row.
    var grows = false
}

/// A cell of a table.
private typealias Text = (text: String, look: Look)

extension WatchModel {
    func drawTable(_ brush: inout Brush) { draw(table, selection, isFocused: true, &brush) }

    /// The reasons of the row that Enter would go into.
    func drawSecond(_ brush: inout Brush) {
        guard brush.height > 1, let highlighted else { return }
        draw(.reasons, highlighted, isFocused: false, &brush)
    }

    private func draw(_ table: Table, _ selection: Selection, isFocused: Bool, _ brush: inout Brush) {
        let order = order(table)
        let columns = Self.columns(table).map { column in
            guard order.columns.contains(column.title) else { return column }
            var sorted = column
            sorted.title += orderMark(table)
            sorted.rank = 0
            return sorted
        }
        let cells = self.cells(table, selection)
        let kept = Self.fitting(columns, cells, width: brush.width - 1)
        let widths = kept.map { column in
            // What grows gives way, too.
            columns[column].grows
                ? columns[column].width
                : max(
                    columns[column].width, columns[column].title.columns,
                    cells.map { $0[column].text.columns }.max() ?? 0)
        }
        var place = 0
        let left = brush.width - 1 - widths.reduce(0) { $0 + $1 + 1 }
        let wide = kept.firstIndex { columns[$0].grows }
        func line(_ row: Int, _ texts: [Text], _ attributes: Look.Attributes) {
            place = 0
            for (index, column) in kept.enumerated() {
                let width = max(0, widths[index] + (index == wide ? left : 0))
                var text = texts[column].text.printable
                while text.columns > width, !text.isEmpty { text.removeLast() }
                brush.go(columns[column].isText ? place : place + width - text.columns, row)
                brush.put(
                    text, Look(texts[column].look.role, texts[column].look.attributes.union(attributes)))
                place += width + 1
            }
            guard !attributes.isEmpty else { return }
            brush.add(attributes, from: 0, to: brush.width, row: row)
        }
        line(0, columns.map { ($0.title, Look(.title, .bold)) }, .underline)
        let hint = "by \(order.name)"
        if left > hint.utf8.count + 2 { drawHint(hint, columns, kept, widths, left, wide, &brush) }
        let first = isFocused ? firstRow : 0
        let height = brush.height - 1
        for (row, cells) in cells.dropFirst(first).prefix(height).enumerated() {
            let isHighlighted = isFocused && row + first == rows[table, default: 0]
            line(row + 1, cells, isHighlighted ? .reverse : [])
        }
        if cells.isEmpty {
            brush.go(0, 1)
            brush.put(emptyText(table), .dim)
        } else if cells.count > first + height, height > 0 {
            brush.go(0, height)
            brush.pad(to: brush.width)
            brush.go(0, height)
            brush.put("\(cells.count - first - height + 1) more", .dim)
        }
    }

    /// How the table is ordered, at the right end of the heading of the column that grows.
    private func drawHint(
        _ hint: String, _ columns: [Column], _ kept: [Int], _ widths: [Int], _ left: Int, _ wide: Int?,
        _ brush: inout Brush
    ) {
        guard let wide else { return }
        let end = widths[...wide].reduce(0) { $0 + $1 + 1 } - 1 + left
        brush.put(hint, endingAt: end, Look(.dim, .underline))
    }

    private func emptyText(_ table: Table) -> String {
        guard report != nil else { return "waiting for the first sample" }
        if let filter = filters[table], isFilteredEmpty(table) { return Self.nothingMatches(filter) }
        return switch table {
        case .guests: "no KVM guest runs"
        case .vcpus: "the guest has ended, or has no vCPU yet"
        case .reasons:
            badge.way == .proc ? "exits: - (no source tells them; h says why)" : "no exit in this interval"
        case .details: detailsHint
        }
    }

    private var detailsHint: String {
        if badge.way == .proc || badge.countsOnly {
            return "- (\(badge.way.rawValue) does not tell; h says why)"
        }
        return "nothing to tell apart in this interval"
    }

    // MARK: Cells

    private static func columns(_ table: Table) -> [Column] {
        switch table {
        case .guests:
            [
                Column(title: "PID", width: 6, rank: 0),
                Column(title: "Guest", width: 8, rank: 0, isText: true, grows: true),
                Column(title: "VMM", width: 4, rank: 3, isText: true),
                Column(title: "vCPU", width: 4, rank: 2),
                Column(title: "RAM", width: 4, rank: 4), Column(title: "Exits/s", width: 8, rank: 0),
                Column(title: "Gst%", width: 4, rank: 0), Column(title: "Krn%", width: 4, rank: 0),
                Column(title: "Usr%", width: 4, rank: 0), Column(title: "Stl%", width: 4, rank: 0),
                Column(title: "Hlt%", width: 4, rank: 1), Column(title: "Intr/s", width: 6, rank: 5),
                Column(title: "", width: sparkLength / 2, rank: 6),
            ]
        case .vcpus:
            [
                Column(title: "vCPU", width: 4, rank: 0), Column(title: "Thread", width: 7, rank: 3),
                Column(title: "CPU", width: 3, rank: 4), Column(title: "Moves", width: 5, rank: 6),
                Column(title: "Exits/s", width: 8, rank: 0), Column(title: "Gst%", width: 4, rank: 0),
                Column(title: "Krn%", width: 4, rank: 0), Column(title: "Usr%", width: 4, rank: 0),
                Column(title: "Stl%", width: 4, rank: 0), Column(title: "Hlt%", width: 4, rank: 1),
                Column(title: "Poll%", width: 5, rank: 5),
                Column(title: "Last", width: 8, rank: 2, isText: true),
                Column(title: "Most", width: 10, rank: 0, isText: true, grows: true),
            ]
        case .reasons:
            [
                Column(title: "Exit", width: 18, rank: 0, isText: true, grows: true),
                Column(title: "Count", width: 8, rank: 0),
                Column(title: "%", width: 4, rank: 2), Column(title: "Rate/s", width: 8, rank: 3),
                Column(title: "Time", width: 7, rank: 1), Column(title: "Mean", width: 7, rank: 0),
                Column(title: "p50", width: 7, rank: 4), Column(title: "p99", width: 7, rank: 0),
                Column(title: "Max", width: 7, rank: 0),
                Column(title: "Timed", width: 8, rank: 5, isText: true),
            ]
        case .details:
            [
                Column(title: "Where", width: 24, rank: 0, isText: true, grows: true),
                Column(title: "Count", width: 9, rank: 0),
                Column(title: "Rate/s", width: 9, rank: 0), Column(title: "%", width: 5, rank: 1),
            ]
        }
    }

    private func cells(_ table: Table, _ selection: Selection) -> [[Text]] {
        func plain(_ text: String) -> Text { (text, text == "-" ? .dim : .plain) }
        func number(_ value: UInt64?) -> Text { plain(value.map { "\($0)" } ?? "-") }
        func taken(_ value: UInt64?) -> Text { plain(value.map { time($0) } ?? "-") }
        switch table {
        case .guests:
            return guestRows.map { guest in
                [
                    plain("\(guest.process)"), (guest.name, Look(.symbol)), plain(guest.vmm),
                    plain("\(guest.vcpuCount)"), plain(guest.ram.map(roundSize) ?? "-"),
                    plain(perSecond(guest.exitsPerSecond)), plain(percentage(guest.share.guest)),
                    plain(percentage(guest.share.kernel)), plain(percentage(guest.share.user)),
                    Self.steal(guest.share.ready), plain(percentage(guest.share.asleep)),
                    plain(perSecond(guest.interruptsPerSecond)),
                    (Sparkline.text(sparks[guest.process] ?? [], width: Self.sparkLength / 2), Look(.good)),
                ]
            }
        case .vcpus:
            return vcpuRows.map { vcpu in
                [
                    plain("\(vcpu.id)"), plain(vcpu.thread.map { "\($0)" } ?? "-"),
                    plain(vcpu.hostCPU.map { "\($0)" } ?? "-"), number(vcpu.moves),
                    plain(perSecond(vcpu.exitsPerSecond)), plain(percentage(vcpu.share.guest)),
                    plain(percentage(vcpu.share.kernel)), plain(percentage(vcpu.share.user)),
                    Self.steal(vcpu.share.ready), plain(percentage(vcpu.share.asleep)),
                    plain(percentage(vcpu.polledShare)), plain(vcpu.lastExit ?? "-"),
                    (vcpu.topReasons.joined(separator: " "), Look(.symbol)),
                ]
            }
        case .reasons:
            return reasonRows(of: selection).map { reason in
                let name = reason.key.level == .userspace ? "to user: \(reason.name)" : reason.name
                return [
                    (name, Look(.symbol)), plain(count(reason.count)), plain(percentage(reason.share)),
                    plain(perSecond(reason.rate)), taken(reason.time), taken(reason.mean), taken(reason.p50),
                    taken(reason.p99), taken(reason.maximum), plain(Self.timing(reason)),
                ]
            }
        case .details:
            let rows = detailRows
            let all = rows.reduce(UInt64(0)) { $0 &+ $1.count }
            return rows.map { detail in
                [
                    (detail.name, Look(.symbol)), plain(count(detail.count)), plain(perSecond(detail.rate)),
                    plain(percentage(Double(detail.count) / Double(max(1, all)))),
                ]
            }
        }
    }

    /// What the guest takes for slowness of its own is marked.
    private static func steal(_ share: Double?) -> Text {
        (percentage(share), (share ?? 0) >= 0.1 ? Look(.warning, .bold) : share == nil ? .dim : .plain)
    }

    private static func timing(_ reason: HostReport.Reason) -> String {
        switch reason.timing {
        case .exitToEntry: reason.isWaiting ? "waiting" : "handling"
        case .returnToEntry: "userspace"
        case .emulationToReturn: "emulation"
        case .none: "-"
        }
    }

    /// The columns that fit, in their order.
    private static func fitting(_ columns: [Column], _ cells: [[Text]], width: Int) -> [Int] {
        var kept = Array(columns.indices)
        func needed() -> Int {
            kept.reduce(0) { sum, column in
                sum + 1
                    + max(
                        columns[column].width, columns[column].title.columns,
                        columns[column].grows ? 0 : cells.map { $0[column].text.columns }.max() ?? 0)
            }
        }
        while needed() > width,
            let out = kept.filter({ columns[$0].rank > 0 }).max(by: { columns[$0].rank < columns[$1].rank })
        {
            kept.removeAll { $0 == out }
        }
        return kept
    }
}
