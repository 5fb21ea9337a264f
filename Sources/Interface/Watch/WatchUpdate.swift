import Commands
import Monitor

extension WatchModel {
    /// Takes an event in.
    /// - Returns: what is to be done.
    package mutating func update(_ event: WatchEvent) -> [WatchEffect] {
        switch event {
        case .resized(let size):
            self.size = size
            return []
        case .sample(let sample):
            take(sample)
            return []
        case .problem(let text):
            message = text.printable
            return []
        case .wheel(let lines):
            if showsHelp { scrollHelp(lines) } else { moveRow(by: lines) }
            return []
        case .pressed(let x, let y):
            press(x, y)
            return []
        case .key(let key):
            message = ""
            if input != nil { return type(key) }
            if showsHelp {
                switch key {
                case .function(10), .control("c"): return [.quit]
                case .up: scrollHelp(-1)
                case .down: scrollHelp(1)
                case .pageUp: scrollHelp(-10)
                case .pageDown: scrollHelp(10)
                default: showsHelp = false
                }
                return []
            }
            return press(key)
        }
    }

    private mutating func scrollHelp(_ lines: Int) {
        helpScroll = max(0, min(helpScroll + lines, helpLength - min(helpLength, size.height - 4)))
    }

    private mutating func take(_ sample: MonitorSample) {
        history.append(sample)
        losses.add(sample.losses)
        let oldest = history.numbers.lowerBound
        // What is looked at is kept no more: the oldest that is.
        if let cursor, cursor < oldest { self.cursor = oldest }
        if let frozen, frozen < oldest { self.frozen = oldest }
        let whole = HostReport(
            sample, names: names, badge: badge, filter: exitFilter?.acceptsShown, symbolizer: symbolizer)
        var kept: [Int32: [Double?]] = [:]
        for guest in whole.guests {
            kept[guest.process] = Array(
                ((sparks[guest.process] ?? []) + [guest.exitsPerSecond]).suffix(Self.sparkLength))
        }
        sparks = kept
        look(latest: whole)
    }

    static let sparkLength = 32

    // MARK: Keys

    private mutating func press(_ key: Key) -> [WatchEffect] {
        switch key {
        case .character("q"), .function(10), .control("c"): return [.quit]
        case .control("z"): return [.suspend]
        case .control("l"): return [.redraw]
        case .up: moveRow(by: -1)
        case .down: moveRow(by: 1)
        case .pageUp: moveRow(by: -max(1, tableHeight - 1))
        case .pageDown: moveRow(by: max(1, tableHeight - 1))
        case .left: moveCursor(by: -1)
        case .right: moveCursor(by: 1)
        case .controlLeft, .altLeft: moveCursor(by: -10)
        case .controlRight, .altRight: moveCursor(by: 10)
        case .home: setCursor(history.numbers.lowerBound)
        case .end: setCursor(nil)
        case .enter: return enter()
        case .escape, .backspace: return leave()
        case .tab: nextTable(1)
        case .backTab: nextTable(-1)
        case .character(" "): freeze()
        case .character("f"), .character("/"), .function(3), .function(4):
            input = .filter(filters[table]?.pattern ?? "")
        case .character("c"):
            if filtersInForce.isEmpty { message = "no filter is in force here" }
            for (table, _) in filtersInForce { setFilter(nil, over: table) }
        case .character("g"), .character("p"): input = .guest("")
        case .character("s"): input = .delay(decimal(delay))
        case .character("b"): return goTo(Selection(process: only), only == nil ? .guests : .vcpus)
        case .character("o"), .character(">"), .function(6): nextOrder(1)
        case .character("<"): nextOrder(-1)
        case .character("I"): invertOrder()
        case .character("P"): order(by: "CPU time")
        case .character("M"): order(by: "memory")
        case .character("T"): order(by: "time")
        case .character("N"): order(by: "PID", "id", "name")
        case .character("r"): reset()
        case .character("x"), .function(5): showTable(table == .details ? tables[0] : .details)
        case .character("h"), .character("?"), .function(1):
            showsHelp = true
            helpScroll = 0
        default: break
        }
        return []
    }

    private mutating func moveRow(by lines: Int) {
        rows[table] = max(0, min(rows[table, default: 0] + lines, rowCount(table) - 1))
    }

    private mutating func moveCursor(by samples: Int) {
        guard let shown, let newest else { return }
        setCursor(max(history.numbers.lowerBound, min(shown + samples, newest)))
    }

    private mutating func setCursor(_ number: Int?) {
        guard history.count > 0 else { return }
        // At the newest one it goes on with the time.
        cursor = number == newest ? nil : number
        look()
    }

    private mutating func freeze() {
        frozen = frozen == nil ? newest : nil
        if frozen == nil { cursor = nil }
        look()
    }

    private mutating func nextTable(_ step: Int) {
        let tables = tables
        let place = tables.firstIndex(of: table) ?? 0
        showTable(tables[(place + step + tables.count) % tables.count])
    }

    private mutating func showTable(_ wanted: Table) {
        guard tables.contains(wanted) else { return }
        table = wanted
        // The graph is of what this table's filter leaves.
        if !filters.isEmpty { look() }
    }

    private mutating func reset() {
        history = SampleHistory()
        series = WatchSeries()
        sparks = [:]
        losses = Losses()
        cursor = nil
        frozen = nil
        report = nil
    }

    // MARK: Drilling

    private mutating func enter() -> [WatchEffect] {
        let row = rows[table, default: 0]
        switch table {
        case .guests:
            guard let guest = guestRows.element(row) else { return [] }
            return goTo(Selection(process: guest.process), .vcpus)
        case .vcpus:
            guard let vcpu = vcpuRows.element(row) else { return [] }
            guard let thread = vcpu.thread else {
                message = "no thread is known that runs vCPU \(vcpu.id)"
                return []
            }
            return goTo(Selection(process: selection.process, thread: thread), .reasons)
        case .reasons:
            guard let reason = reasonRows.element(row) else { return [] }
            var selection = selection
            selection.reason = reason.key
            return goTo(selection, .details)
        case .details: return []
        }
    }

    private mutating func leave() -> [WatchEffect] {
        if takeFilterOff() { return [] }
        if selection.reason != nil {
            var above = selection
            above.reason = nil
            return goTo(above, .reasons)
        }
        if selection.thread != nil { return goTo(Selection(process: selection.process), .vcpus) }
        if selection.process != nil, only == nil { return goTo(Selection(), .guests) }
        if cursor != nil || frozen != nil {
            cursor = nil
            frozen = nil
            look()
        }
        return []
    }

    private mutating func goTo(_ new: Selection, _ table: Table) -> [WatchEffect] {
        let wantedRIPs = selection.reason?.level == .hardware
        // Rows of something else: what was looked for is not there.
        if new != selection { filters[.details] = nil }
        if new.process != selection.process { filters[.vcpus] = nil }
        selection = new
        self.table = table
        if table == .details || table == .reasons { rows[table] = 0 }
        look()
        let wantsRIPs = new.reason?.level == .hardware
        return wantsRIPs == wantedRIPs ? [] : [.countInstructionPointers(wantsRIPs)]
    }

    /// A row of the table that is pressed is gone to, and of the graph, its time.
    private mutating func press(_ x: Int, _ y: Int) {
        let areas = areas
        if areas.table.contains(x: x, y: y), y > areas.table.y {
            let row = firstRow + y - areas.table.y - 1
            if row < rowCount(table) { rows[table] = row }
        } else if areas.graph.contains(x: x, y: y) || areas.heat.contains(x: x, y: y), let newest {
            let column = x - areas.graph.x - WatchModel.axisWidth
            let columns = areas.graph.width - WatchModel.axisWidth
            guard column >= 0 else { return }
            let number = newest - (columns - 1 - column) * 2
            if history.numbers.contains(number) { setCursor(number) }
        }
    }

    // MARK: Typing

    private mutating func type(_ key: Key) -> [WatchEffect] {
        guard var text = input?.text else { return [] }
        switch key {
        case .escape, .control("c"): input = nil
        case .backspace:
            if !text.isEmpty { text.removeLast() }
            input?.text = text
        case .control("u"): input?.text = ""
        case .character(let scalar):
            text.unicodeScalars.append(scalar)
            input?.text = text
        case .enter:
            let done = input
            input = nil
            return finish(done)
        default: break
        }
        return []
    }

    private mutating func finish(_ input: Input?) -> [WatchEffect] {
        switch input {
        case .filter(let text):
            do {
                setFilter(text.isEmpty ? nil : try ReasonFilter(text, ignoresCase: true), over: table)
            } catch {
                message = error.description
            }
        case .guest(let text):
            guard !text.isEmpty else { return goTo(Selection(process: only), only == nil ? .guests : .vcpus) }
            let guests = report?.guests ?? []
            guard
                let guest = guests.first(where: { "\($0.process)" == text || $0.name == text })
                    ?? guests.first(where: { $0.name.hasPrefix(text) })
            else {
                message = "no guest here is called \"\(text.printable)\" or has that process id"
                return []
            }
            return goTo(Selection(process: guest.process), .vcpus)
        case .delay(let text):
            guard let seconds = Double(text), (0.1...3600).contains(seconds) else {
                message = "a delay is from 0.1 to 3600 seconds, not \"\(text.printable)\""
                return []
            }
            delay = seconds
            return [.setDelay(seconds)]
        case nil: break
        }
        return []
    }
}

extension WatchModel.Input {
    var text: String {
        get {
            switch self {
            case .filter(let text), .guest(let text), .delay(let text): text
            }
        }
        set {
            switch self {
            case .filter: self = .filter(newValue)
            case .guest: self = .guest(newValue)
            case .delay: self = .delay(newValue)
            }
        }
    }

    /// - Parameter room: columns for it and what is typed.
    func prompt(_ table: WatchModel.Table, room: Int) -> String {
        switch self {
        case .filter(let text):
            let prompts = WatchModel.filterPrompts(table)
            return prompts.long.columns + text.columns < room ? prompts.long : prompts.short
        case .guest: return "Guest (process id or name): "
        case .delay: return "Seconds between samples: "
        }
    }
}

extension Array {
    func element(_ index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
