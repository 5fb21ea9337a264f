import DebugTarget
import Debugger
import GuestView
import X86

extension Model {
    /// Takes one event into account, and says what is to be done about it.
    public mutating func update(_ event: Event) -> [Effect] {
        switch event {
        case .key(let key):
            notice = nil
            // Twice in a row, with nothing done in between.
            lastInterrupt = nil
            return press(key)
        case .interrupt(let time):
            return interrupt(at: time)
        case .leave:
            return leave()
        case .resized(let size):
            self.size = size
            return [.refresh]
        case .wheel(let x, let y, let lines):
            guard let frame = layout.frame(x: x, y: y) else { return [] }
            return scroll(frame.front, by: lines)
        case .pressed(let x, let y):
            return click(x, y)
        case .commandLine(let line):
            commandLine = line
            return []
        case .entered(let line):
            append([OutputLine([.init("> ", .dim), .init(line, Look(.plain, .bold))])])
            answerStart = output.count
            return []
        case .output(let lines):
            append(lines)
            if linesAbove > 0, wishes.zoomed != .output {
                notice = "\(linesAbove) more lines are above: PgUp, or Alt-z for the whole screen"
            }
            return []
        case .guest(let view):
            return take(view)
        case .layout(let layout):
            // What was moved by hand was moved in another one.
            wishes = LayoutWishes(layout)
            return [.refresh]
        case .resolved(let purpose, let place):
            return point(purpose, at: place)
        case .unresolved(let message):
            notice = message
            return []
        case .evaluated(let text, let result):
            switch result {
            case .success(let value): take(.value(value), for: text)
            case .failure(let refusal): take(.error(refusal.message), for: text)
            }
            return []
        }
    }

    private mutating func append(_ lines: [OutputLine]) {
        output.append(contentsOf: lines)
        let surplus = output.count - Self.outputLimit
        if surplus > 0 {
            output.removeFirst(surplus)
            answerStart = max(0, answerStart - surplus)
        }
        scroll[.output] = 0
        matched = nil
    }

    private mutating func take(_ view: GuestView) -> [Effect] {
        let isNewStop = guest?.stop.number != view.stop.number || guest?.selected != view.selected
        guest = view
        if view.isRunning {
            saidKeysWait = false
            exitRates.append(view.exits.rate)
            if exitRates.count > Self.longestRates { exitRates.removeFirst() }
        }
        if !view.code.lines.isEmpty {
            codeStart = view.code.lines.first?.address
            codeScroll = 0
        }
        if isNewStop {
            codePinnedAt = nil
            codeCursor = view.code.lines.firstIndex { $0.isPC } ?? 0
        }
        codeCursor = max(0, min(codeCursor, view.code.lines.count - 1))
        if memory == nil {
            let pc = view.current?.pc ?? 0
            memory = MemoryPlace(
                space: .linear, offset: pc & ~0xF)
            return [.refresh]
        }
        return []
    }

    private mutating func point(_ purpose: Purpose, at place: MemoryPlace) -> [Effect] {
        switch purpose {
        case .memory:
            memory = place
            cursors[.memory] = .byte(0, value: nil)
            show(.memory)
        case .code:
            codeStart = place.linear
            codePinnedAt = guest?.stop.number
            codeScroll = 0
            codeCursor = 0
            show(.code)
        }
        return [.refresh]
    }

    /// Asks first where a guest would be lost that has run; the second time is an answer.
    private mutating func leave() -> [Effect] {
        guard endsGuest, let guest, guest.latest > 0 || guest.isRunning, question?.kind != .quit else {
            return [.quit]
        }
        lastInterrupt = nil
        notice = nil
        question = Question(kind: .quit)
        return []
    }

    private mutating func interrupt(at time: UInt64) -> [Effect] {
        if guest?.isRunning == true { return [.interrupt] }
        if let last = lastInterrupt, time &- last < 1_000 {
            return leave()
        }
        lastInterrupt = time
        notice = "Ctrl-C again to quit"
        if edit != nil || question != nil || showsHelp {
            edit = nil
            question = nil
            showsHelp = false
            return []
        }
        return [.clearLine]
    }

    private mutating func click(_ x: Int, _ y: Int) -> [Effect] {
        edit = nil
        showsHelp = false
        guard let frame = layout.frame(x: x, y: y) else {
            focus = nil
            return []
        }
        focus = frame.front
        let inside = (x: x - frame.content.x, y: y - frame.content.y)
        if frame.front == .code {
            codeCursor = max(0, min(inside.y, (guest?.code.lines.count ?? 1) - 1))
        } else if let field = fields(of: frame.front).first(where: {
            $0.y == inside.y && inside.x >= $0.x && inside.x < $0.x + $0.width
        }) {
            cursors[frame.front] = field.kind
        }
        return []
    }

    // MARK: Keys

    private mutating func press(_ key: Key) -> [Effect] {
        if showsHelp { return pressInHelp(key) }
        if edit != nil { return pressInEdit(key) }
        if question != nil { return pressInQuestion(key) }
        if let effects = pressAnywhere(key) { return effects }
        guard let focus else { return pressInCommandLine(key) }
        return press(key, in: focus)
    }

    private mutating func pressAnywhere(_ key: Key) -> [Effect]? {
        switch key {
        case .function(1):
            showsHelp = true
            helpScroll = 0
            return []
        case .function(2):
            focus = .stack
            show(.stack)
            return [.refresh]
        case .function(3):
            question = Question(kind: .search(Self.searchable(focus)))
            return []
        case .function(4), .control("o"):
            return moveFocus(by: 1)
        case .function(16):
            return moveFocus(by: -1)
        case .function(5), .function(8), .function(9), .function(10), .function(11),
            .function(23):
            if guest?.isRunning == true {
                notice = "the guest runs; F12 stops it"
                return []
            }
            let command =
                switch key {
                case .function(5): "continue"
                case .function(8), .function(10): "next"
                case .function(23): "finish"
                default: "step"
                }
            return [.execute(command, echo: false)]
        case .function(6):
            guard focus == .exits else { return toggleBreakpoint() }
            exitOrder = exitOrder.next
            return []
        // With something typed it is readline's.
        case .alt("l") where commandLine.text.isEmpty:
            return [.execute("layout next", echo: false)]
        case .alt("s"):
            return [.execute("save screen", echo: true)]
        case .function(7):
            question = Question(kind: .address(focus == .code ? .code : .memory))
            return []
        case .function(12):
            return guest?.isRunning == true ? [.interrupt] : []
        case .altLeft: return revisit(by: -1)
        case .altRight: return revisit(by: 1)
        case .control("l"):
            return [.redraw]
        case .control("z"):
            return [.suspend]
        default:
            return nil
        }
    }

    /// Goes so many stops on, or back.
    mutating func revisit(by steps: Int) -> [Effect] {
        guard let guest else { return [] }
        guard !guest.isRunning else {
            notice = "the guest runs: F12 stops it, and its last stops can be seen"
            return []
        }
        let wanted = guest.stop.number + steps
        guard guest.kept.contains(wanted) else {
            notice =
                steps > 0
                ? "this is where the guest stands"
                : guest.kept.lowerBound == 0 ? "this is the first stop" : "no stop before this one is kept"
            return []
        }
        return [.revisit(wanted)]
    }

    /// Nothing of a past stop can be changed.
    mutating func refusesEdits() -> Bool {
        guard let guest, guest.isPast else { return false }
        notice = "stop \(guest.stop.number) is past and stays as it was; \(backToNow) goes to the present"
        return true
    }

    var backToNow: String { focus == nil ? "Esc" : "]" }

    private mutating func toggleBreakpoint() -> [Effect] {
        guard let lines = guest?.code.lines, lines.indices.contains(codeCursor) else { return [] }
        let line = lines[codeCursor]
        if let number = line.breakpoint { return [.execute("delete \(number)", echo: true)] }
        return [.execute("break 0x\(String(line.address, radix: 16))", echo: true)]
    }

    private mutating func moveFocus(by step: Int) -> [Effect] {
        let panes = layout.frames.flatMap(\.panes)
        let position = focus.flatMap { panes.firstIndex(of: $0) } ?? (step > 0 ? -1 : panes.count)
        let next = position + step
        focus = panes.indices.contains(next) ? panes[next] : nil
        if let focus { show(focus) }
        return [.refresh]
    }

    /// Brings a pane to light, whatever hides it.
    mutating func show(_ pane: Pane) {
        wishes.hidden.remove(pane)
        if let zoomed = wishes.zoomed, zoomed != pane { wishes.zoomed = nil }
        wishes.raise(pane)
    }

    private mutating func pressInCommandLine(_ key: Key) -> [Effect] {
        switch key {
        case .pageUp: return scroll(.output, by: -max(1, page(.output)))
        case .pageDown: return scroll(.output, by: max(1, page(.output)))
        case .alt("z"):
            wishes.zoomed = wishes.zoomed == nil ? .output : nil
            return [.refresh]
        case .escape where wishes.zoomed != nil:
            wishes.zoomed = nil
            return [.refresh]
        case .escape where guest?.isPast == true: return [.revisit(guest?.latest ?? 0)]
        case .escape where !commandLine.isVi: return []
        case .controlUp, .controlDown: return []
        case .backTab: return moveFocus(by: -1)
        case .insert where !wishes.hidden.isEmpty: return unhide()
        default: return [.edit(key)]
        }
    }

    private mutating func pressInHelp(_ key: Key) -> [Effect] {
        switch key {
        case .up: helpScroll = max(0, helpScroll - 1)
        case .down: helpScroll += 1
        case .pageUp: helpScroll = max(0, helpScroll - max(1, size.height - 6))
        case .pageDown, .character(" "): helpScroll += max(1, size.height - 6)
        default: showsHelp = false
        }
        helpScroll = min(helpScroll, max(0, Help.lines.count - Help.height(size)))
        return []
    }

    private mutating func pressInQuestion(_ key: Key) -> [Effect] {
        guard var asked = question else { return [] }
        if asked.kind == .quit {
            question = nil
            return key == .character("y") || key == .character("Y") ? [.quit] : []
        }
        switch key {
        case .character(let scalar): asked.text.unicodeScalars.append(scalar)
        case .backspace: if !asked.text.isEmpty { asked.text.removeLast() }
        case .control("u"): asked.text = ""
        case .escape:
            question = nil
            return []
        case .enter:
            question = nil
            return answer(asked)
        default: break
        }
        question = asked
        return []
    }

    private mutating func answer(_ asked: Question) -> [Effect] {
        switch asked.kind {
        case .quit: return []
        case .address(let purpose):
            return asked.text.isEmpty ? [] : [.resolve(asked.text, for: purpose)]
        case .search(let pane):
            if !asked.text.isEmpty { searched = asked.text }
            return search(in: pane)
        }
    }

    /// What is searched with the keys in a pane: it, where it can be, and otherwise the output.
    static func searchable(_ pane: Pane?) -> Pane {
        switch pane {
        case .memory, .stack, .code, .registers, .system, .console: pane ?? .output
        case .output, .vcpus, .exits, .peers, nil: .output
        }
    }

    /// Goes on to the next place with what is searched for.
    mutating func search(in pane: Pane) -> [Effect] {
        guard let text = searched else { return [] }
        switch pane {
        case .memory:
            guard let place = memory else { return [] }
            var offset = 0
            if case .byte(let at, _)? = cursors[.memory] { offset = at }
            return [.findBytes(text, after: place.moved(by: offset))]
        case .stack:
            guard let top = guest?.stack.first else { return [] }
            return [.findBytes(text, after: MemoryPlace(space: .linear, offset: top.linear &- 1))]
        case .code:
            guard let lines = guest?.code.lines, lines.indices.contains(codeCursor) else { return [] }
            return [.findCode(text, after: lines[codeCursor].address)]
        case .registers, .system: searchFields(text.lowercased(), in: pane)
        case .output, .console, .vcpus, .exits, .peers: searchText(in: pane)
        }
        return []
    }

    /// Moves the cursor to the next register of that name, or with those digits in its value.
    private mutating func searchFields(_ text: String, in pane: Pane) {
        let fields = fields(of: pane)
        let current = cursors[pane].flatMap { kind in fields.firstIndex { $0.isSame(as: kind) } } ?? -1
        let name = text.hasPrefix("$") ? String(text.dropFirst()) : text
        let digits = text.hasPrefix("0x") ? String(text.dropFirst(2)) : text
        let found = (fields[(current + 1)...] + fields[..<max(0, current + 1)]).first { field in
            switch field.kind {
            case .register(let register, _, let value):
                register == name || !digits.isEmpty && String(value, radix: 16).contains(digits)
            case .flag(let flag, _): flag == name
            case .byte, .slot: false
            }
        }
        guard let found else {
            notice = "no register \"\(text)\", and none with such a value"
            return
        }
        show(pane)
        cursors[pane] = found.kind
    }

    /// Scrolls up to the next line with the text searched for.
    private mutating func searchText(in pane: Pane) {
        guard let text = searched?.lowercased() else { return }
        let lines = pane == .console ? consoleLines() : output.map(\.text)
        show(pane)
        let end = matched ?? lines.count
        guard let found = lines[..<min(end, lines.count)].lastIndex(where: { $0.lowercased().contains(text) })
        else {
            matched = nil
            notice = "no \(matched == nil ? "" : "more ")\"\(text)\" above"
            return
        }
        matched = found
        let width = max(1, layout.frame(of: pane)?.content.width ?? size.width)
        let below = lines[(found + 1)...].reduce(0) { $0 + wrappedRows($1, width: width) }
        scroll[pane] = max(0, below - max(0, page(pane) - 2))
    }
}
