public import DebugTarget
import Debugger
import X86

extension CommandTable {
    static let typingCommands: [Command] = [
        Command(
            "type", [], "[--keys|--serial] TEXT", .exits,
            "type to the guest: on its keyboard, or on its serial port",
            details: """
                A guest with a BIOS of kvmscope's has a keyboard, and gets TEXT there; others get it on their serial port, as \
                with `--serial`. Nothing is added: `\\r` is Enter. C's other escapes are taken, too, and quotes keep spaces at \
                the ends. With `--keys` keys have names in braces, as `boot{enter}`: enter, esc, tab, backspace, up, down, \
                left, right, home, end, pgup, pgdn, insert, delete, f1 to f12; `{{` is a brace. What is typed to another \
                program's guest is that program's.
                """,
            examples: [
                .init("type help\\r", "a line"), .init("type \\x1b", "Escape"),
                .init("type --keys boot{enter}", "with a key's name"),
            ], completion: [.words(["--keys", "--serial"]), .none], whileRunning: true,
            action: TypingActions.type)
    ]
}

extension Session {
    /// Types a key to the guest; a sentence where it was not typed.
    public func typeToGuest(_ key: TypedKey) -> String? {
        guard let keyboard = debugger.target as? any KeyTyping else { return "The guest has no keyboard." }
        switch keyboard.type([key]) {
        case nil: return nil
        case .full: return "The guest has not read what was typed before: the key is lost."
        case .noKey: return "No key of a US keyboard gives that."
        case .noKeyboard: return "The guest has no keyboard of kvmscope's."
        }
    }
}

enum TypingActions {
    static func type(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        var rest = call.rest
        let isNamed = take("--keys", &rest)
        let isSerial = !isNamed && take("--serial", &rest)
        guard !rest.text.isEmpty else { throw call.usageError("nothing to be typed") }
        let isQuoted = rest.text.count > 1 && rest.text.hasPrefix("\"") && rest.text.hasSuffix("\"")
        let text = isQuoted ? String(rest.text.dropFirst().dropLast()) : rest.text
        let offset = isQuoted ? 1 : 0
        let keyboard = session.debugger.target as? any KeyTyping
        if isNamed {
            guard let keyboard, keyboard.hasKeyboard else { throw noKeyboard(session, call) }
            return try press(keys(text, rest, offset, keyboard, call), on: keyboard, call, rest)
        }
        let bytes = try call.unescaped(text, at: rest, offset: offset)
        if let keyboard, keyboard.hasKeyboard, !isSerial {
            return try press(bytes.map { .byte($0) }, on: keyboard, call, rest)
        }
        return try send(bytes, session, call)
    }

    /// Takes an option off the start.
    private static func take(_ option: String, _ rest: inout Argument) -> Bool {
        guard rest.text == option || rest.text.hasPrefix(option + " ") else { return false }
        rest.text.removeFirst(option.count)
        rest.column += option.count
        while rest.text.first == " " {
            rest.text.removeFirst()
            rest.column += 1
        }
        return true
    }

    private static func noKeyboard(_ session: Session, _ call: Invocation) -> CommandError {
        call.error(
            "\(session.debugger.target.name) has no keyboard of kvmscope's",
            remedy: "a guest with a BIOS has one; `type` without `--keys` goes to the serial port")
    }

    /// Text with keys in braces.
    private static func keys(
        _ text: String, _ place: Argument, _ offset: Int, _ keyboard: any KeyTyping, _ call: Invocation
    ) throws(CommandError) -> [TypedKey] {
        var keys: [TypedKey] = []
        var name: String?
        var start = 0
        var isBrace = false
        let characters = Array(text)
        for (index, character) in characters.enumerated() {
            if isBrace {
                isBrace = false
                continue
            }
            if let open = name {
                guard character == "}" else {
                    name = open + String(character)
                    continue
                }
                let wanted = open.lowercased()
                guard keyboard.keyNames.contains(wanted) else {
                    throw call.error(
                        "there is no key `\(open.shortened)`", at: place, offset: offset + start,
                        suggestion: nearest(to: wanted, in: keyboard.keyNames),
                        remedy: "keys: " + keyboard.keyNames.joined(separator: ", "))
                }
                keys.append(.named(wanted))
                name = nil
            } else if character == "{" {
                if index + 1 < characters.count, characters[index + 1] == "{" {
                    keys.append(.byte(0x7B))
                    isBrace = true
                } else {
                    name = ""
                    start = index
                }
            } else {
                guard let byte = character.asciiValue else {
                    throw call.error(
                        "no key of a US keyboard gives `\(character)`", at: place, offset: offset + index)
                }
                keys.append(.byte(byte))
            }
        }
        guard name == nil else {
            throw call.error("a key's name has no closing brace", at: place, offset: offset + start)
        }
        return keys
    }

    private static func press(
        _ keys: [TypedKey], on keyboard: any KeyTyping, _ call: Invocation, _ place: Argument
    ) throws(CommandError) -> Outcome {
        switch keyboard.type(keys) {
        case nil: return .done(Message("\(counted(keys.count, "key")) typed."))
        case .noKey(let index):
            let byte: UInt8 = if case .byte(let value) = keys[index] { value } else { 0 }
            throw call.error(
                "no key of a US keyboard gives the byte \(Hex(byte))", at: place,
                remedy: "`type --serial` sends any byte to the serial port")
        case .full:
            throw call.error(
                "the keyboard has no room for \(counted(keys.count, "key")) now", at: place,
                remedy: "the guest has not read what was typed before")
        case .noKeyboard:
            throw call.error("the guest has no keyboard of kvmscope's", at: place)
        }
    }

    private static func send(
        _ bytes: [UInt8], _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Outcome {
        guard let target = session.debugger.target as? any ConsoleProviding else {
            throw call.error("\(session.debugger.target.name) has no console")
        }
        guard let console = target.consoles.first(where: { target.consoleInput($0, bytes) }) else {
            throw call.error(
                "no console of \(session.debugger.target.name) takes \(counted(bytes.count, "byte")) now",
                remedy:
                    "its serial port is full until the guest reads it, or another program has the guest's input"
            )
        }
        return .done(Message("\(counted(bytes.count, "byte")) for \(console.rawValue)."))
    }
}
