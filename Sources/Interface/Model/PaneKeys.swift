import DebugTarget
import Debugger
import GuestView

extension Model {
    mutating func press(_ key: Key, in pane: Pane) -> [Effect] {
        if pane == .console, typesToGuest, let typed = Self.typed(key) {
            if guest?.isRunning == false, !saidKeysWait {
                saidKeysWait = true
                notice = "the guest is stopped: it gets the keys when it runs; F4 leaves"
            }
            return [.typeToGuest(typed)]
        }
        switch key {
        case .up: return move(pane, 0, -1)
        case .down: return move(pane, 0, 1)
        case .left: return move(pane, -1, 0)
        case .right: return move(pane, 1, 0)
        case .pageUp: return scroll(pane, by: -page(pane))
        case .pageDown: return scroll(pane, by: page(pane))
        case .home: return scroll(pane, by: -1_000_000)
        case .end: return scroll(pane, by: 1_000_000)
        case .enter: return activate(pane)
        case .character(" "): return toggle(pane)
        case .escape, .character(":"):
            focus = nil
            return []
        case .tab: return press(.function(4))
        case .backTab: return press(.function(16))
        case .controlUp: return resize(pane, rows: -1)
        case .controlDown: return resize(pane, rows: 1)
        case .controlLeft: return resize(pane, columns: -1)
        case .controlRight: return resize(pane, columns: 1)
        case .delete:
            wishes.zoomed = nil
            wishes.hidden.insert(pane)
            focus = nil
            notice = "\(pane.title) is hidden: Insert brings it back"
            return [.refresh]
        case .insert: return unhide()
        case .alt("z"):
            wishes.zoomed = wishes.zoomed == pane ? nil : pane
            return [.refresh]
        case .alt("n"): return search(in: Self.searchable(pane))
        case .alt("c") where pane == .console:
            console += 1
            scroll[.console] = 0
            return [.refresh]
        case .alt("r") where pane == .exits: return [.execute("exits reset", echo: true)]
        case .character(let scalar): return type(scalar, in: pane)
        default: return []
        }
    }

    private mutating func press(_ key: Key) -> [Effect] { update(.key(key)) }

    /// Brings back what was hidden.
    mutating func unhide() -> [Effect] {
        wishes.hidden.removeAll()
        return [.refresh]
    }

    /// No letter is a key of a pane: a word that is typed goes to the command line, whatever has the focus.
    private mutating func type(_ scalar: Unicode.Scalar, in pane: Pane) -> [Effect] {
        switch Character(scalar) {
        case "+": return resize(pane, rows: 1)
        case "-": return resize(pane, rows: -1)
        case ">": return resize(pane, columns: 1)
        case "<": return resize(pane, columns: -1)
        case "=":
            wishes = LayoutWishes(wishes.preset)
            show(pane)
            return [.refresh]
        case "0"..."9":
            let digit = Int(scalar.value) - 0x30
            guard let wanted = Pane.numbered(digit == 0 ? 10 : digit) else { return [] }
            focus = wanted
            show(wanted)
            return [.refresh]
        case "/":
            question = Question(kind: .search(Self.searchable(pane)))
            return []
        case "[": return revisit(by: -1)
        case "]": return revisit(by: 1)
        case "{": return revisit(by: (guest?.kept.lowerBound ?? 0) - (guest?.stop.number ?? 0))
        case "}": return revisit(by: (guest?.latest ?? 0) - (guest?.stop.number ?? 0))
        case ".":
            codeStart = nil
            codePinnedAt = nil
            codeScroll = 0
            return [.refresh]
        case "?":
            showsHelp = true
            helpScroll = 0
            return []
        default:
            focus = nil
            return [.edit(.character(scalar))]
        }
    }

    private mutating func resize(_ pane: Pane, rows: Int = 0, columns: Int = 0) -> [Effect] {
        let before = layout
        guard let frame = before.frame(holding: pane) else { return [] }
        var changed = wishes
        changed.rows[frame.panes[0], default: 0] += rows
        if columns != 0 {
            let starts = Set(before.frames.dropFirst().map(\.rect.x)).sorted()
            let index = starts.firstIndex(of: frame.rect.x) ?? 0
            // The last column grows when the one before it shrinks.
            if index == starts.count - 1, index > 0 {
                changed.columns[index - 1, default: 0] -= columns
            } else {
                changed.columns[index, default: 0] += columns
            }
        }
        // A wish that changes nothing is not kept: it would have to be taken back key by key.
        if layout(changed) != before { wishes = changed }
        return [.refresh]
    }

    /// Content rows of a pane, less one.
    func page(_ pane: Pane) -> Int { max(1, (layout.frame(of: pane)?.content.height ?? 1) - 1) }

    // MARK: Scrolling

    /// Scrolls towards the end, or with a negative number towards the start.
    mutating func scroll(_ pane: Pane, by lines: Int) -> [Effect] {
        switch pane {
        case .code:
            guard abs(lines) < 1_000_000 else {
                codeStart = nil
                codePinnedAt = nil
                return [.refresh]
            }
            codeScroll += lines
            codePinnedAt = guest?.stop.number
            return [.refresh]
        case .memory:
            guard let place = memory, abs(lines) < 1_000_000 else { return [] }
            let width = layout.frame(of: .memory)?.content.width ?? size.width
            memory = place.moved(by: lines * memoryColumns(width: width, place))
            return [.refresh]
        case .output, .console:
            // These start at their end.
            scroll[pane] = max(0, min(scroll[pane, default: 0] - lines, rows(of: pane) - page(pane)))
        case .vcpus, .stack, .exits, .registers, .system, .peers:
            let limit =
                switch pane {
                case .vcpus: (guest?.vcpus.count ?? 1) - 1
                case .exits: 1_000
                case .stack: 4_096
                case .system: Layout.systemRows - 2
                default: Layout.registerRows - 2
                }
            scroll[pane] = max(0, min(scroll[pane, default: 0] + lines, limit))
        }
        return [.refresh]
    }

    /// Rows that a pane's text takes in all.
    private func rows(of pane: Pane) -> Int {
        let width = max(1, layout.frame(of: pane)?.content.width ?? size.width)
        if pane == .console, let screen = guestScreen { return screen.rows }
        let lines = pane == .console ? consoleLines() : output.map(\.text)
        return lines.reduce(0) { $0 + wrappedRows($1, width: width) }
    }

    // MARK: Cursors

    private mutating func move(_ pane: Pane, _ dx: Int, _ dy: Int) -> [Effect] {
        switch pane {
        case .code:
            let last = (guest?.code.lines.count ?? 1) - 1
            let wanted = codeCursor + dy
            codeCursor = max(0, min(wanted, last))
            return wanted == codeCursor ? [] : scroll(.code, by: dy)
        case .vcpus:
            guard let guest, let index = guest.vcpus.firstIndex(where: { $0.id == guest.selected }) else {
                return []
            }
            let next = index + dy
            guard dy != 0, guest.vcpus.indices.contains(next) else { return [] }
            return [.execute("cpu \(guest.vcpus[next].id)", echo: false)]
        case .registers, .system, .stack, .memory:
            return moveField(pane, dx, dy)
        case .exits, .console, .output, .peers:
            return dy == 0 ? [] : scroll(pane, by: dy)
        }
    }

    private mutating func moveField(_ pane: Pane, _ dx: Int, _ dy: Int) -> [Effect] {
        let fields = fields(of: pane)
        guard let first = fields.first else { return dy == 0 ? [] : scroll(pane, by: dy) }
        let current = cursors[pane].flatMap { kind in fields.first { $0.isSame(as: kind) } } ?? first
        let next: Field?
        if dy != 0 {
            // The nearest row that way, and there the nearest field.
            let ahead = fields.filter { ($0.y - current.y) * dy > 0 }
            let row = ahead.min { abs($0.y - current.y) < abs($1.y - current.y) }?.y
            next = ahead.filter { $0.y == row }.min { abs($0.x - current.x) < abs($1.x - current.x) }
        } else {
            next = fields.filter { $0.y == current.y && ($0.x - current.x) * dx > 0 }
                .min { abs($0.x - current.x) < abs($1.x - current.x) }
        }
        if let next {
            cursors[pane] = next.kind
            return []
        }
        return dy == 0 ? [] : scroll(pane, by: dy)
    }

    /// The field that the cursor of a pane stands on.
    func currentField(of pane: Pane) -> Field? {
        let fields = fields(of: pane)
        guard let kind = cursors[pane] else { return fields.first }
        return fields.first { $0.isSame(as: kind) } ?? fields.first
    }
}
