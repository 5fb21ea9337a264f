import Commands
import Monitor

/// Where the parts of the screen are.
struct WatchAreas {
    var title: Rect
    var path: Rect
    var graph: Rect
    var heat: Rect
    var table: Rect
    /// Below the table where the screen is high: the reasons of the row that is highlighted.
    var second: Rect
    var hints: Rect
}

extension WatchModel {
    /// Columns of the labels left of the graph and the heat map.
    static let axisWidth = 8

    var areas: WatchAreas {
        let (width, height) = (size.width, size.height)
        func rows(_ y: Int, _ count: Int) -> Rect { Rect(x: 0, y: y, width: width, height: count) }
        // At 24 rows: four of graph, six of heat map, ten of table.
        let graph = height < 20 ? 2 : height < 40 ? 4 : 8
        let heat = height < 20 ? 0 : height < 40 ? height / 4 : 14
        let top = 2 + graph + heat
        let rest = max(1, height - 1 - top)
        let canSplit = rest >= 20 && (table == .guests || table == .vcpus)
        let first = canSplit ? min(rest / 2, max(6, rowCount(table) + 2)) : rest
        return WatchAreas(
            title: rows(0, 1), path: rows(1, 1), graph: rows(2, graph), heat: rows(2 + graph, heat),
            table: rows(top, first), second: rows(top + first, canSplit ? rest - first : 0),
            hints: rows(height - 1, 1))
    }

    /// Rows of the table below its heading.
    var tableHeight: Int { max(1, areas.table.height - 1) }

    /// The row at the top of the table: what Enter goes into is always to be seen.
    var firstRow: Int {
        let row = rows[table, default: 0]
        return max(0, row - tableHeight + 1)
    }

    /// The whole screen. A pure function of the model.
    package func view() -> Screen {
        var brush = Brush(Screen(size: size), Rect(x: 0, y: 0, width: size.width, height: size.height))
        guard size.width >= Layout.minimum.width, size.height >= Layout.minimum.height else {
            brush.put("The terminal is too small:")
            brush.go(0, 1)
            brush.put("\(Layout.minimum.width)x\(Layout.minimum.height) is the least")
            return brush.finish()
        }
        let areas = areas
        brush.move(to: areas.title)
        drawTitle(&brush)
        brush.move(to: areas.path)
        drawPath(&brush)
        brush.move(to: areas.graph)
        drawGraph(&brush)
        brush.move(to: areas.heat)
        drawHeat(&brush)
        brush.move(to: areas.table)
        drawTable(&brush)
        brush.move(to: areas.second)
        drawSecond(&brush)
        brush.move(to: areas.hints)
        drawHints(&brush)
        if showsHelp { drawHelp(&brush) }
        return brush.finish()
    }

    // MARK: The first rows

    private func drawTitle(_ brush: inout Brush) {
        brush.put(" kvmscope top ", Look(.title, [.bold, .reverse]))
        brush.put(" source ", .dim)
        brush.put(badge.way.rawValue, .title)
        let lost = losses.lostText
        brush.put(lost ?? ", nothing lost", lost == nil ? .plain : Look(.warning, .bold))
        if let right = clocks.first(where: { brush.room > $0.utf8.count + 1 }) {
            brush.put(
                right, endingAt: brush.width - 1,
                frozen == nil && cursor == nil ? .plain : Look(.warning, .bold))
        }
    }

    /// The time of the second that is shown, the most words first. What is frozen does not get older while it is looked at.
    private var clocks: [String] {
        guard let report else { return [frozen == nil ? "" : "FROZEN"] }
        let shown = Self.clock(report.sample.wallTime)
        let age = cursor.flatMap { cursor in newest.map { "looking at -\($0 - cursor)" } }
        guard let frozen else { return [age.map { "\($0)  \(shown)" } ?? shown, shown] }
        guard let age else { return ["FROZEN at \(shown)", "FROZEN \(shown)", "FROZEN"] }
        let last = history[frozen].map { " at \(Self.clock($0.wallTime))" } ?? ""
        return ["FROZEN\(last), \(age)  \(shown)", "FROZEN, \(age)  \(shown)", "FROZEN \(shown)", "FROZEN"]
    }

    private func drawPath(_ brush: inout Brush) {
        if !message.isEmpty {
            brush.put(message, Look(.error, .bold))
            return
        }
        brush.put(path, .name)
        for (table, filter) in filtersInForce {
            brush.put(
                "  filter of \(Self.filteredRows(table)): \(filter.pattern.printable)", Look(.warning))
        }
        // Where a better source is missing, that is said as long as nothing else has to be.
        if let first = report?.missing.first, brush.room > 12 {
            brush.put("  - : ", .dim)
            let others = (report?.missing.count ?? 1) - 1
            let more = others > 0 ? " (+\(others), h)" : ""
            var text = first
            let room = brush.room - more.utf8.count
            if text.columns > room { text = String(text.prefix(max(0, room - 1))) + "\u{2026}" }
            brush.put(text + more, .dim)
        }
    }

    /// Host > guest > vCPU > reason.
    private var path: String {
        var parts = only == nil ? ["Host"] : []
        if let process = selection.process {
            let guest = report?.sample.guests.first { $0.process == process }
            parts.append(guest.map { "\($0.name) (\(process))" } ?? "\(process) (ended)")
            if let thread = selection.thread {
                let vcpu = guest?.vcpus.first { $0.thread == thread }
                parts.append(vcpu.map { "vCPU \($0.id)" } ?? "thread \(thread)")
            }
        }
        if let reason = selection.reason { parts.append(reason.kvmStatName(names)) }
        return parts.joined(separator: " > ")
    }

    /// Of the day, in UTC.
    static func clock(_ wallTime: Double) -> String {
        guard wallTime.isFinite, wallTime >= 0, wallTime < 1e15 else { return "--:--:--" }
        let second = Int(wallTime) % 86400
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60)) UTC"
    }

    // MARK: The last row

    private func drawHints(_ brush: inout Brush) {
        if let input {
            let prompt = input.prompt(table, room: brush.width)
            brush.put(prompt, .title)
            // The end of what is typed stays in sight.
            var typed = Substring(input.text.printable)
            while typed.columns > max(1, brush.room - 1), !typed.isEmpty { typed.removeFirst() }
            brush.put(String(typed))
            brush.setCursor(onScreen: brush.point(min(brush.x, brush.width - 1), 0))
            return
        }
        // What nobody can do without comes first: the rest is in the help.
        let hints = [
            ("h", "help"), ("q", "quit"), ("Enter", "into"),
            ("Esc", filtersInForce.isEmpty ? "out" : "no filter"),
            ("Tab", "table"), ("f", "filter"), ("o", "sort"), ("Space", frozen == nil ? "freeze" : "go on"),
            ("\u{2190}\u{2192}", "time"), ("s", "delay"), ("r", "reset"), ("b", "guests"), ("x", "where"),
        ]
        for (key, text) in hints {
            let gap = brush.x > 0 ? 2 : 0
            guard brush.room >= gap + key.columns + 1 + text.utf8.count else { return }
            brush.skip(gap)
            brush.put(key, Look(.key, .bold))
            brush.skip(1)
            brush.put(text)
        }
    }
}

extension Losses {
    /// As short as it has to be beside a clock; nil where nothing was lost.
    var lostText: String? {
        let parts = [
            (records, "lost"), (unkept, "no room"), (unpaired, "unpaired"), (restarted, "restarted"),
        ].filter { $0.0 > 0 }.map { "\($0.1) \($0.0)" }
        return parts.isEmpty ? nil : ", " + parts.joined(separator: " ")
    }
}
