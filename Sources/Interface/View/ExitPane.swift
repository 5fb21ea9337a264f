import Commands
import GuestView

extension Model {
    private struct ExitColumn {
        var title: String
        /// Columns that it takes, with the blank before it.
        var width: Int
        var text: (ExitTable.Row) -> String
    }

    /// The rate's course and the histogram above, the last exits below.
    func drawExits(_ guest: GuestView, _ brush: inout Brush) {
        let table = guest.exits
        var row = 0
        if brush.height >= 7, exitRates.contains(where: { $0 != nil }) {
            drawRates(table, &brush)
            row = 1
        }
        let rows = exitOrder.sorted(table.rows)
        let columns = exitColumns(table, width: brush.width)
        let name = brush.width - columns.reduce(1) { $0 + $1.width }
        brush.go(0, row)
        brush.put("Exit", exitOrder == .name ? Look(.dim, [.dim, .underline]) : .dim)
        var end = name
        for column in columns {
            end += column.width
            brush.put(column.title, endingAt: end, .dim)
        }
        row += 1
        // The last ones have at least a third of the pane, where there are any.
        let room = brush.height - row
        var shown = min(rows.count, table.recent.isEmpty ? room : max(1, room * 2 / 3 - 1))
        // That there are more takes a row itself.
        if shown < rows.count, shown > 1 { shown -= 1 }
        for exit in rows.prefix(shown) {
            brush.go(0, row)
            brush.put(cut(exit.name, to: name), Look(.mnemonic))
            var end = name
            for column in columns {
                end += column.width
                brush.put(column.text(exit), endingAt: end)
            }
            row += 1
        }
        if shown < rows.count, row < brush.height {
            brush.go(0, row)
            brush.put("\(rows.count - shown) more kinds", .dim)
            row += 1
        }
        guard row < brush.height, !table.recent.isEmpty else {
            if rows.isEmpty {
                brush.go(0, row)
                guard !guest.exitsMissing.isEmpty else {
                    brush.put("none yet", .dim)
                    return
                }
                brush.put("not told by the host:", .warning)
                brush.go(0, row + 1)
                brush.put(guest.exitsMissing.printable, .dim)
            }
            return
        }
        drawRecent(guest, from: row, &brush)
    }

    /// What fits is shown: the average, the share of all and the percentiles go first.
    private func exitColumns(_ table: ExitTable, width: Int) -> [ExitColumn] {
        func duration(_ value: UInt64?) -> String { value.map { time($0) } ?? "-" }
        let counts = ExitColumn(title: "Count", width: 7) { count($0.count) }
        let share = ExitColumn(title: "%", width: 6) { self.share($0, table) }
        let rates = ExitColumn(title: "Rate/s", width: 8) { $0.rate.map(rate) ?? "-" }
        let average = ExitColumn(title: "Avg", width: 8) { duration($0.average) }
        let middle = ExitColumn(title: "p50", width: 8) { duration($0.median) }
        let high = ExitColumn(title: "p99", width: 8) { duration($0.high) }
        let most = ExitColumn(title: "Max", width: 8) { duration($0.maximum) }
        if width >= 78 { return [counts, share, rates, average, middle, high, most] }
        if width >= 64 { return [counts, share, rates, middle, high, most] }
        if width >= 54 { return [counts, rates, middle, high, most] }
        if width >= 40 { return [counts, rates, high, most] }
        if width >= 30 { return [counts, rates, most] }
        // An exit's name has some columns in any case.
        return width >= 24 ? [counts, most] : [counts]
    }

    /// Exits a second since the guest ran, the newest on the right.
    private func drawRates(_ table: ExitTable, _ brush: inout Brush) {
        let now = table.rate.map { " \(rate($0))/s" } ?? ""
        brush.put("Rate ", .dim)
        let room = max(0, brush.room - now.utf8.count)
        let text = Sparkline.text(exitRates, width: room)
        brush.put(text, Look(.good))
        brush.put(now)
    }

    private func drawRecent(_ guest: GuestView, from y: Int, _ brush: inout Brush) {
        brush.go(0, y)
        brush.put("Last exits", .dim)
        let recent = guest.exits.recent.dropFirst(scroll[.exits, default: 0]).prefix(brush.height - y - 1)
        for (row, exit) in recent.enumerated() {
            brush.go(0, y + 1 + row)
            let age = exit.age > 0 ? "-\(time(exit.age))" : ""
            brush.put("#\(exit.number) ", .dim)
            if guest.vcpus.count > 1 { brush.put("cpu\(exit.vcpu) ", .name) }
            let room = brush.room - age.utf8.count - 1
            brush.put(room >= 12 ? cut(exit.text, to: room) : exit.text)
            if room >= 12, !age.isEmpty { brush.put(age, endingAt: brush.width, .dim) }
        }
    }

    /// A text in so many columns; that it goes on is said.
    private func cut(_ text: String, to room: Int) -> String {
        text.columns <= room ? text : String(text.prefix(max(0, room - 1))) + "\u{2026}"
    }

    private func share(_ row: ExitTable.Row, _ table: ExitTable) -> String {
        tenths(table.total == 0 ? 0 : Double(row.count) / Double(table.total) * 100)
    }
}
