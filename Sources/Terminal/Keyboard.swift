import CNcurses
import Glibc
public import Interface

/// What came from the terminal.
public enum TerminalEvent: Sendable, Hashable {
    case key(Key)
    /// Ctrl-C or SIGINT.
    case interrupt
    case wheel(x: Int, y: Int, lines: Int)
    case pressed(x: Int, y: Int)
    case resized(Size)
    /// A signal that asks the process to end.
    case terminate(Int32)
    /// The descriptor that was waited for polls readable.
    case ready
    /// Nothing came in the time given.
    case timeout
}

/// ncurses' input as events.
enum Keyboard {
    /// Everything that waits; never blocks. Ends with `.terminate(SIGHUP)` where read(2) fails with EIO: of a background
    /// process whose parent has ended, which can never get the terminal (termios(3)).
    static func read() -> [TerminalEvent] {
        var events: [TerminalEvent] = []
        var escaped = false
        while true {
            let input = cncurses_get()
            switch Int(input.kind) {
            case Int(CNCURSES_CHARACTER):
                if escaped {
                    escaped = false
                    events.append(alt(input.value))
                } else if input.value == 27 {
                    // ncurses waited for what belongs to it: a character right after makes it Alt.
                    escaped = true
                } else {
                    events.append(event(character: input.value))
                }
                continue
            case Int(CNCURSES_NONE), Int(CNCURSES_LOST):
                if escaped { events.append(.key(.escape)) }
                if Int(input.kind) == Int(CNCURSES_LOST) { events.append(.terminate(SIGHUP)) }
                return events
            default: break
            }
            if escaped {
                escaped = false
                events.append(.key(.escape))
            }
            if Int(input.kind) == Int(CNCURSES_MOUSE) {
                let x = Int(input.column)
                let y = Int(input.row)
                switch Int(input.value) {
                case Int(CNCURSES_WHEEL_UP): events.append(.wheel(x: x, y: y, lines: -3))
                case Int(CNCURSES_WHEEL_DOWN): events.append(.wheel(x: x, y: y, lines: 3))
                default: events.append(.pressed(x: x, y: y))
                }
            } else if let key = key(code: Int(input.value)) {
                events.append(.key(key))
            }
        }
    }

    private static func alt(_ value: UInt32) -> TerminalEvent {
        guard value != 27, let scalar = Unicode.Scalar(value) else { return .key(.escape) }
        return .key(.alt(scalar))
    }

    static func event(character value: UInt32) -> TerminalEvent {
        switch value {
        case 3: return .interrupt
        case 9: return .key(.tab)
        case 10, 13: return .key(.enter)
        case 8, 127: return .key(.backspace)
        case 28: return .terminate(3)
        case 0..<32:
            guard let scalar = Unicode.Scalar(value + 0x40) else { return .timeout }
            return .key(.control(Character(Character(scalar).lowercased())))
        default:
            guard let scalar = Unicode.Scalar(value) else { return .timeout }
            return .key(.character(scalar))
        }
    }

    static func key(code: Int) -> Key? {
        let first = Int(CNCURSES_F0)
        if code > first, code <= first + 63 { return .function(code - first) }
        return switch code {
        case Int(CNCURSES_UP): .up
        case Int(CNCURSES_DOWN): .down
        case Int(CNCURSES_LEFT): .left
        case Int(CNCURSES_RIGHT): .right
        case Int(CNCURSES_HOME): .home
        case Int(CNCURSES_END): .end
        case Int(CNCURSES_PAGE_UP): .pageUp
        case Int(CNCURSES_PAGE_DOWN): .pageDown
        case Int(CNCURSES_INSERT): .insert
        case Int(CNCURSES_DELETE): .delete
        case Int(CNCURSES_BACKSPACE): .backspace
        case Int(CNCURSES_ENTER): .enter
        case Int(CNCURSES_BACK_TAB): .backTab
        case Int(CNCURSES_CONTROL_UP): .controlUp
        case Int(CNCURSES_CONTROL_DOWN): .controlDown
        case Int(CNCURSES_CONTROL_LEFT): .controlLeft
        case Int(CNCURSES_CONTROL_RIGHT): .controlRight
        case Int(CNCURSES_ALT_LEFT): .altLeft
        case Int(CNCURSES_ALT_RIGHT): .altRight
        default: nil
        }
    }

    /// What readline is told for a key: the sequences of xterm, which its own key bindings are written for.
    static func bytes(for key: Key) -> [UInt8] {
        switch key {
        case .character(let scalar): Array(String(Character(scalar)).utf8)
        case .control(let character): character.asciiValue.map { [$0 & 0x1F] } ?? []
        case .alt(let scalar): [27] + Array(String(Character(scalar)).utf8)
        case .up: sequence("[A")
        case .down: sequence("[B")
        case .right: sequence("[C")
        case .left: sequence("[D")
        case .home: sequence("[H")
        case .end: sequence("[F")
        case .insert: sequence("[2~")
        case .delete: sequence("[3~")
        case .controlRight: sequence("[1;5C")
        case .controlLeft: sequence("[1;5D")
        case .backspace: [127]
        case .enter: [13]
        case .tab: [9]
        case .escape: [27]
        case .pageUp, .pageDown, .backTab, .controlUp, .controlDown, .altLeft, .altRight, .function: []
        }
    }

    private static func sequence(_ tail: StaticString) -> [UInt8] {
        [27] + Array(UnsafeBufferPointer(start: tail.utf8Start, count: tail.utf8CodeUnitCount))
    }
}
