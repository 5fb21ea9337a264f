extension CommandTable {
    /// The screen itself.
    static let screenCommands: [Command] = [
        Command(
            "layout", [], "[boot|kernel|exits|wide|next]", .other, "put the screen's panes elsewhere",
            details: """
                `boot` has a bit of all, in `kernel` code and stack have the room, in `exits` the exits, in `wide` output. The \
                last one chosen is there again in the next session. Alt-l goes to the next one. GDB's `asm`, `src` and \
                `split` are `kernel`, and `regs` is `boot`.
                """,
            examples: [.init("layout kernel", "code and stack"), .init("layout", "which it is")],
            completion: [.words(ScreenLayout.allCases.map(\.rawValue) + ["next"])], whileRunning: true,
            action: ScreenActions.layout),
        Command(
            "set theme", [], "auto|dark|light|none", .other, "choose the screen's colours",
            details: """
                `auto` asks the terminal for its background, and takes it for dark where it does not say. It is kept for the \
                next session. NO_COLOR and `--color never` go first.
                """,
            examples: [.init("set theme light", "for a light background")],
            completion: [.words(ScreenTheme.allCases.map(\.rawValue))], whileRunning: true,
            action: ScreenActions.setTheme),
        Command(
            "show theme", [], "", .other, "show which colours the screen has", whileRunning: true,
            action: ScreenActions.showTheme),
        Command(
            "set mouse", [], "on|off", .other, "give the mouse to the screen, or leave it to the terminal",
            details: """
                While it is on, the wheel scrolls a pane and a click focuses it; most terminals select text with Shift held \
                down. While it is off they select as ever. It is kept for the next session.
                """,
            examples: [.init("set mouse off", "to select text")], completion: [.words(["on", "off"])],
            whileRunning: true, action: ScreenActions.setMouse),
        Command(
            "show mouse", [], "", .other, "show who has the mouse", whileRunning: true,
            action: ScreenActions.showMouse),
        Command(
            "save screen", [], "[FILE]", .other, "write the screen as text to a file",
            details: """
                Without FILE, to `kvmscope-screen-N.txt` in the current folder, where N is a number that is free; Alt-s does \
                that, too.
                """,
            completion: [.file], whileRunning: true, action: ScreenActions.save),
    ]
}

enum ScreenActions {
    private static func screen(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> any ScreenControl {
        if let screen = session.screen { return screen }
        throw call.error(
            "there is no screen here", at: Argument(text: "", column: 0),
            remedy: "it is there where standard output is a terminal, without --no-tui")
    }

    static func layout(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let screen = try screen(session, call)
        let all = ScreenLayout.allCases
        if let word = call.arguments.first {
            // GDB's names: what shows the code, and what shows the registers.
            let known = ["asm": "kernel", "src": "kernel", "split": "kernel", "regs": "boot"]
            if word.text == "next" {
                let next = (all.firstIndex(of: screen.screenLayout) ?? 0) + 1
                screen.screenLayout = all[next % all.count]
            } else if let layout = ScreenLayout(rawValue: known[word.text] ?? word.text) {
                screen.screenLayout = layout
            } else {
                throw call.error(
                    "there is no layout `\(word.text)`", at: word,
                    suggestion: nearest(to: word.text, in: all.map(\.rawValue)),
                    remedy: "one of: " + all.map(\.rawValue).joined(separator: ", "))
            }
        }
        let layout = screen.screenLayout
        return .done(Message("Layout \(layout.rawValue): \(layout.summary)."))
    }

    static func setTheme(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let screen = try screen(session, call)
        guard call.arguments.count == 1, let word = call.arguments.first,
            let theme = ScreenTheme(rawValue: word.text)
        else {
            throw call.usageError("`set theme` takes auto, dark, light or none", at: call.arguments.first)
        }
        screen.theme = theme
        return try showTheme(session, call)
    }

    static func showTheme(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let screen = try screen(session, call)
        let used = screen.usedTheme
        return .done(
            Message(
                screen.theme == used
                    ? "The theme is \(used.rawValue)."
                    : "The theme is \(screen.theme.rawValue), which is \(used.rawValue) here."))
    }

    static func setMouse(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let screen = try screen(session, call)
        guard call.arguments.count == 1, let word = call.arguments.first, ["on", "off"].contains(word.text)
        else { throw call.usageError("`set mouse` takes on or off", at: call.arguments.first) }
        screen.usesMouse = word.text == "on"
        return try showMouse(session, call)
    }

    static func showMouse(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(
            Message(
                try screen(session, call).usesMouse
                    ? "The screen has the mouse; most terminals select text with Shift held down."
                    : "The terminal has the mouse, and selects text with it."))
    }

    static func save(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let screen = try screen(session, call)
        let file = call.arguments.first ?? Argument(text: freeName(), column: call.rest.column)
        try Files.write(Array(screen.screenText().utf8), file, session, call)
        return .done(Message("The screen is in \(file.text)."))
    }

    /// A name that no file of the current folder has.
    private static func freeName() -> String {
        let taken = Set(directoryEntries(".").map(\.name))
        let number = (1...).first { !taken.contains("kvmscope-screen-\($0).txt") } ?? 1
        return "kvmscope-screen-\(number).txt"
    }
}
