import Commands
import DebugTarget
import Debugger
import GuestView

extension Model {
    /// The whole screen. A pure function of the model.
    public func view() -> Screen {
        let layout = layout
        var brush = Brush(Screen(size: size), Rect(x: 0, y: 0, width: size.width, height: size.height))
        guard !layout.frames.isEmpty else {
            brush.put("The terminal is too small:")
            brush.go(0, 1)
            brush.put("\(Layout.minimum.width)x\(Layout.minimum.height) is the least")
            return brush.finish()
        }
        for frame in layout.frames { draw(frame, layout, &brush) }
        for separator in layout.separators { draw(separator: separator, &brush) }
        drawCommandLine(layout, &brush)
        drawHints(layout, &brush)
        if showsHelp { drawHelp(&brush) }
        return brush.finish()
    }

    /// The fields of a pane as it is now, relative to its content.
    func fields(of pane: Pane) -> [Field] {
        guard let frame = layout.frame(of: pane) else { return [] }
        var brush = Brush(Screen(size: size), frame.content)
        draw(pane, &brush)
        return brush.fields
    }

    private func draw(_ frame: Layout.Frame, _ layout: Layout, _ brush: inout Brush) {
        brush.move(to: frame.rect)
        drawTitle(frame, &brush)
        brush.move(to: frame.content)
        draw(frame.front, &brush)
        markCursor(frame, &brush)
    }

    private func draw(_ pane: Pane, _ brush: inout Brush) {
        guard let guest else { return }
        switch pane {
        case .vcpus: drawVCPUs(guest, &brush)
        case .registers: drawRegisters(guest, &brush)
        case .system: drawSystem(guest, &brush)
        case .code: drawCode(guest, &brush)
        case .stack: drawStack(guest, &brush)
        case .memory: drawMemory(guest, &brush)
        case .exits: drawExits(guest, &brush)
        case .console: drawConsole(guest, &brush)
        case .output: drawOutput(&brush)
        case .peers: drawPeers(guest, &brush)
        }
    }

    // MARK: Between the panes

    private func drawTitle(_ frame: Layout.Frame, _ brush: inout Brush) {
        for x in 0..<frame.rect.width {
            brush.go(x, 0)
            brush.put(scalar: 0x2500, .border)
        }
        brush.go(1, 0)
        for pane in [frame.front] + frame.panes.filter({ $0 != frame.front }) {
            if pane == frame.front {
                let isFocused = focus == pane
                brush.put(isFocused ? "[" : " ", .title)
                if pane == .vcpus { brush.put("kvmscope ", .title) }
                brush.put(pane.title, isFocused ? Look(.title, [.bold, .reverse]) : .title)
                let room = brush.room - 3
                let figures = titleFigures(pane).utf8.count
                let spare = room - (figures > 0 ? figures + 3 : 0)
                let detail = fitting(titleDetail(pane, room: spare), in: room)
                if !detail.isEmpty { brush.put(" " + detail, .plain) }
                brush.put(isFocused ? "]" : " ", .title)
            } else if brush.room > pane.title.utf8.count + 2 {
                brush.put(scalar: 0x2502, .border)
                brush.put(" \(pane.title) ", .dim)
            }
        }
        if let right = titleRight(frame.front).first(where: { brush.room > $0.utf8.count + 3 }) {
            brush.go(frame.rect.width - right.utf8.count - 3, 0)
            brush.put(" \(right) ", guest?.isPast == true ? Look(.warning, .bold) : .plain)
        }
    }

    /// - Parameter room: for it, where what else is to be said has its room, too.
    private func titleDetail(_ pane: Pane, room: Int) -> String {
        guard let guest else { return "" }
        switch pane {
        case .vcpus:
            let state = guest.isRunning ? "running" : guest.reason.isEmpty ? "stopped" : guest.reason
            guard !guest.name.isEmpty else { return state }
            return "\(shortened(guest.name.printable, to: room - state.utf8.count - 2)), \(state)"
        case .registers, .system:
            let from = guest.registersFrom.isEmpty && guest.isRunning ? "live" : guest.registersFrom
            return words([guest.vcpus.count > 1 ? "vCPU \(guest.selected)" : "", past(from)])
        case .code:
            let here = guest.code.lines.first(where: \.isPC)?.symbol ?? ""
            return words([guest.code.mode, past(""), here, guest.code.source])
        case .stack, .peers: return past("")
        case .memory: return words([guest.memory.title, past(guest.memoryFrom)])
        case .exits:
            return words([
                count(guest.exits.total), guest.exits.rate.map { "\(rate($0))/s" } ?? "",
                exitOrder == .count ? "" : "by \(exitOrder.rawValue)",
                past(guest.exitsFrom),
            ])
        case .console, .output:
            let up = scroll[pane, default: 0]
            let name = pane == .console ? guest.console.name : ""
            let above = pane == .output ? linesAbove : 0
            return words([
                name, above > 0 ? "\(above) lines above" : "", up > 0 ? "\(up) rows up" : "",
                pane == .console ? past("") : "",
            ])
        }
    }

    /// What is said first of a list, as far as there is room for it.
    private func fitting(_ text: String, in room: Int) -> String {
        var text = text[...]
        while text.utf8.count > room {
            // The first part is shown cut before nothing is.
            guard let comma = text.lastIndex(of: ",") else { return String(text.prefix(max(0, room))) }
            text = text[..<comma]
        }
        return String(text)
    }

    /// A guest's name in so much room: without its VMM, then cut, but not to nothing.
    private func shortened(_ name: String, to room: Int) -> String {
        guard name.utf8.count > room, room >= 4 else { return name }
        let bare = name.lastIndex(of: "(").map { String(name[..<$0].dropLast()) } ?? name
        guard bare.isEmpty || bare.utf8.count > room else { return bare }
        var cut = bare.isEmpty ? name[...] : bare[...]
        while cut.utf8.count > room - 2 { cut.removeLast() }
        return cut + ".."
    }

    private func words(_ parts: [String]) -> String {
        parts.filter { !$0.isEmpty }.joined(separator: ", ")
    }

    /// What a pane says of its values' age: that they are past, or else `now`.
    private func past(_ now: String) -> String {
        guard let guest, guest.isPast else { return now }
        return "PAST"
    }

    /// What the vCPUs' title says at its right end, each figure in the least room; empty where it has no figures.
    private func titleFigures(_ pane: Pane) -> String {
        guard let guest, pane == .vcpus, guest.standstill != nil || guest.spread != nil else { return "" }
        return titleRight(pane)[guest.spread == nil ? 4 : 2]
    }

    /// What a title says at its right end: the most first, then what can be said with less room.
    private func titleRight(_ pane: Pane) -> [String] {
        guard let guest, pane == .vcpus else { return [] }
        let number =
            guest.isPast
            ? "PAST: stop \(guest.stop.number) of \(guest.latest)" : "stop \(guest.stop.number)"
        let stood = guest.standstill.map { time($0.wholeNanoseconds) }
        let apart = guest.spread.map { time($0.wholeNanoseconds) }
        // Where they do not all fit, that there are more is said.
        let rows = layout.frame(of: .vcpus)?.content.height ?? 0
        let some = guest.vcpus.count > rows ? "\(rows) of \(guest.vcpus.count) shown" : ""
        let (long, short) = (stood.map { "stopped for \($0)" } ?? "", stood.map { "stopped \($0)" } ?? "")
        return [
            words([some, long, apart.map { "vCPUs stopped within \($0)" } ?? "", number]),
            words([some, short, apart.map { "within \($0)" } ?? "", number]),
            words([some, apart == nil ? "" : stood ?? "", apart.map { "within \($0)" } ?? "", number]),
            words([some, long, number]), words([some, short, number]), words([some, number]),
        ]
    }

    private func draw(separator: Rect, _ brush: inout Brush) {
        for y in separator.y..<separator.maxY {
            let left = brush.cell(onScreen: separator.x - 1, y).scalar == 0x2500
            let right = brush.cell(onScreen: separator.x + 1, y).scalar == 0x2500
            let isFirst = y == separator.y
            let scalar: UInt32 =
                switch (left, right) {
                case (true, true): isFirst ? 0x252C : 0x253C
                case (true, false): isFirst ? 0x2510 : 0x2524
                case (false, true): isFirst ? 0x250C : 0x251C
                case (false, false): 0x2502
                }
            brush.onScreen(separator.x, y, Cell(scalar, .border))
        }
    }

    // MARK: Cursors

    private func markCursor(_ frame: Layout.Frame, _ brush: inout Brush) {
        let pane = frame.front
        if let edit, edit.pane == pane, let field = brush.fields.first(where: { $0.isSame(as: edit.kind) }) {
            brush.go(field.x, field.y)
            brush.put(edit.shown, Look(.prompt, [.reverse]))
            return
        }
        guard focus == pane else { return }
        if pane == .code {
            brush.add(.reverse, from: 0, to: frame.content.width, row: codeCursor)
        } else if let kind = cursors[pane] ?? brush.fields.first?.kind,
            let field = brush.fields.first(where: { $0.isSame(as: kind) }) ?? brush.fields.first
        {
            brush.add(.reverse, from: field.x, to: field.x + field.width, row: field.y)
        }
    }

    // MARK: The last two rows

    private func drawCommandLine(_ layout: Layout, _ brush: inout Brush) {
        brush.move(to: Rect(x: 0, y: layout.commandRow, width: size.width, height: 1))
        if let edit { return draw(edit, &brush) }
        if let question {
            brush.put(question.prompt, Look(.prompt, .bold))
            brush.put(question.text)
            brush.setCursor(onScreen: brush.point(min(brush.x, size.width - 1), 0))
            return
        }
        let line = commandLine
        // The part of the line around the cursor, where it is longer than the row.
        let before = String(decoding: line.text.utf8.prefix(line.cursor), as: UTF8.self)
        let width = before.printable.columns
        let prompt = line.prompt.columns
        let room = max(1, size.width - prompt - 1)
        var hidden = 0
        var shown = Substring(line.text.printable).unicodeScalars
        while width - hidden > room, let first = shown.first {
            hidden += cellWidth(first)
            shown.removeFirst()
        }
        brush.put(line.prompt, Look(.prompt, .bold))
        brush.put(String(shown))
        if focus == nil, !showsHelp {
            brush.setCursor(onScreen: brush.point(min(size.width - 1, prompt + width - hidden), 0))
        }
    }

    /// What is typed, and what Enter would set.
    private func draw(_ edit: Edit, _ brush: inout Brush) {
        let name =
            switch edit.kind {
            case .register(let name, _, _): "$\(name)"
            case .byte(let offset, _): memory.map { "byte at \($0.moved(by: offset).address)" } ?? "byte"
            case .flag, .slot: ""
            }
        brush.put("\(name) = ", Look(.prompt, .bold))
        // The end of what is typed stays in sight.
        var shown = Substring(edit.text.printable)
        while shown.count > max(8, brush.room / 2) { shown.removeFirst() }
        brush.put(String(shown))
        brush.setCursor(onScreen: brush.point(min(brush.x, size.width - 1), 0))
        switch edit.meaning {
        case .unchanged: brush.put("   type digits or an expression", .dim)
        case .value(let value): brush.put("   Enter sets 0x\(Edit.text(value, edit.digits))", .dim)
        case .unknown: break
        case .error(let message): brush.put("   \(message)", .warning)
        }
    }

    private func drawHints(_ layout: Layout, _ brush: inout Brush) {
        brush.move(to: Rect(x: 0, y: layout.hintRow, width: size.width, height: 1))
        if let notice {
            brush.put(notice, Look(.warning, .bold))
            return
        }
        for hint in hints {
            // A hint that does not fit whole is left out.
            guard brush.room >= hint.key.utf8.count + hint.label.utf8.count + 2 else { return }
            brush.put(hint.key, Look(.key, [.bold, .reverse]))
            brush.put(hint.label + "  ", .plain)
        }
    }

    private var hints: [(key: String, label: String)] {
        if edit != nil {
            return [("Enter", "Set"), ("Backspace", "Back"), ("Ctrl-U", "Clear"), ("Esc", "Leave as it was")]
        }
        if question?.kind == .quit { return [("y", "Quit"), ("n", "Stay")] }
        if question != nil { return [("Enter", "Go"), ("Esc", "Leave")] }
        if guest?.isPast == true, focus == nil {
            return [
                ("Alt-Left", "Older"), ("Alt-Right", "Newer"), ("Esc", "The present"), ("F4", "Panes"),
                ("F5", "Continue"), ("F8", "Next"), ("F9", "Step"),
            ]
        }
        guard let focus else {
            return [
                ("F1", "Help"), ("F4", "Panes"), ("F5", "Continue"), ("F6", "Break"), ("F7", "Memory"),
                ("F8", "Next"), ("F9", "Step"), ("F12", "Stop"), ("Tab", "Complete"),
            ]
        }
        // Most keys are the guest's there: those that are not are named.
        if focus == .console, typesToGuest {
            return [
                ("keys", "To the guest"), ("F4", "Leave"), ("Alt-c", "Next console"), ("Alt-z", "Zoom"),
                ("F1", "Help"),
            ]
        }
        let first: [(String, String)] =
            switch focus {
            case .registers, .system: [("Enter", "Edit"), ("Space", "Flip flag")]
            case .memory: [("Enter", "Edit"), ("F7", "Address")]
            case .stack: [("Enter", "Show in Memory")]
            case .code: [("Enter", "Breakpoint"), ("F7", "Address"), (".", "To PC")]
            case .exits: [("F6", "Sort"), ("Alt-r", "Reset")]
            case .output: [("/", "Search"), ("Alt-n", "Again")]
            case .console: [("/", "Search"), ("Alt-n", "Again"), ("Alt-c", "Next console")]
            case .vcpus: [("Up", "Select"), ("Down", "Select")]
            case .peers: []
            }
        return first + [
            ("Esc", "Leave"), ("F4", "Next pane"), ("+-<>", "Size"), ("Del", "Hide"), ("Alt-z", "Zoom"),
            ("?", "Help"),
        ]
    }
}
