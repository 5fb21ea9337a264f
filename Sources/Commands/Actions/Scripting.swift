import DebugTarget
import Debugger
import Expressions
import X86

extension CommandTable {
    /// GDB's command language.
    static let scriptCommands: [Command] = [
        Command(
            "if", [], "EXPR", .scripts, "do the lines that follow where an expression is not 0",
            details: """
                Up to `else` or `end`, each on a line of its own. After `else` stands what is done otherwise.
                """,
            examples: [.init("if $ax == 0x7c00", "the lines up to `end`")],
            completion: [.expression], whileRunning: true, action: ScriptActions.begin(.if)),
        Command(
            "while", [], "EXPR", .scripts, "do the lines that follow as long as an expression is not 0",
            details: """
                Up to `end`. `loop_break` leaves the loop, `loop_continue` begins it again. Ctrl-C ends it.
                """,
            examples: [.init("while $cx != 0", "the lines up to `end`, again and again")],
            completion: [.expression], whileRunning: true, action: ScriptActions.begin(.while)),
        Command(
            "else", [], "", .scripts, "begin what is done where the expression of `if` is 0",
            whileRunning: true, action: ScriptActions.outside),
        Command(
            "end", [], "", .scripts, "end the lines of `if`, `while`, `define`, `document` or `commands`",
            whileRunning: true, action: ScriptActions.outside),
        Command(
            "loop_break", [], "", .scripts, "leave the innermost `while`", whileRunning: true,
            action: ScriptActions.leave),
        Command(
            "loop_continue", [], "", .scripts, "begin the innermost `while` again", whileRunning: true,
            action: ScriptActions.goRound),
        Command(
            "define", [], "NAME", .scripts, "make a command of your own of the lines that follow",
            details: """
                Up to `end`. In them `$argc` is how many words the command is called with, `$arg0` the first one, `$arg*` \
                all; they are put in as text. `hook-COMMAND` is done before each COMMAND, `hookpost-COMMAND` after it, and \
                `hook-stop` after each stop. A space in COMMAND is `-` there, as in `hook-info-registers`.
                """,
            examples: [
                .init("define twice", "the lines up to `end`"), .init("define hook-stop", "after each stop"),
            ],
            whileRunning: true, action: ScriptActions.define),
        Command(
            "document", [], "NAME", .scripts, "give a command of your own its help",
            details: "The lines up to `end` are what `help NAME` shows; the first one is its summary.",
            whileRunning: true, action: ScriptActions.document),
        Command(
            "show user", [], "[NAME]", .scripts, "show the commands of your own, or one with its lines",
            whileRunning: true, action: ScriptActions.showUser),
        Command(
            "printf", [], "\"FORMAT\", EXPR...", .scripts, "print values by a format",
            details: """
                As in C: `%d %i %u %o %x %X %p %c %s` with flags, width and precision, and `%%`. `hh`, `h` and `l` cut a \
                value to 8, 16 and 64 bits; without them it is printed whole. `%s` takes an address, or text in double \
                quotes, and shows at most 4096 bytes. No line is ended but by `\\n`.
                """,
            examples: [.init("printf \"ax=%04hx, %d steps\\n\", $ax, 3", "a line")],
            completion: [.expression], whileRunning: true, action: ScriptActions.printf),
        Command(
            "echo", [], "TEXT", .scripts, "print text",
            details:
                "With C's escapes; `\\ ` is a space that counts at either end. No line is ended but by `\\n`.",
            examples: [.init("echo done\\n", "a line")], whileRunning: true, action: ScriptActions.echo),
        Command(
            "eval", [], "\"FORMAT\", EXPR...", .scripts, "do the command that a format makes",
            details: "The format is that of `printf`; each line of the text is a command.",
            examples: [.init("eval \"print %d\", 6 * 7", "a command made of a value")],
            completion: [.expression], whileRunning: true, action: ScriptActions.eval),
        Command(
            "shell", ["!"], "LINE", .scripts, "give a line to the shell",
            details: """
                /bin/sh runs it, with nothing to read; what it prints is shown once it has ended. The guest goes on \
                meanwhile if it runs. Ctrl-C ends it. `$_shell_exitcode` is its status, or `$_shell_exitsignal` the signal \
                that ended it.
                """,
            examples: [.init("shell date", "what time it is"), .init("!date", "the same")],
            whileRunning: true, action: ShellActions.shell),
        Command(
            "pipe", ["|"], "[-d DELIMITER] COMMAND | LINE", .scripts,
            "give what a command shows to the shell",
            details: """
                LINE is run by /bin/sh and reads it. With `-d` another word than `|` stands between the two. `| COMMAND | \
                LINE` is the same.
                """,
            examples: [.init("pipe info registers | grep rip", "one line of many")],
            completion: [.command], whileRunning: true, action: ShellActions.pipe),
        Command(
            "set logging", [], "on|off|file FILE|overwrite on|off|redirect on|off", .scripts,
            "write what commands show to a file, too",
            details: """
                `set logging enabled on` is the same as `set logging on`. The file is `kvmscope.txt` unless `set logging file` \
                names another one, and is appended to unless `overwrite` is on. With `redirect` on, the terminal shows \
                nothing of it.
                """,
            examples: [.init("set logging redirect off", "the terminal shows it, too")],
            completion: [.words(["on", "off", "enabled", "file", "overwrite", "redirect"]), .file],
            whileRunning: true, action: LoggingActions.set),
        Command(
            "show logging", [], "", .scripts, "show where output is written to", whileRunning: true,
            action: LoggingActions.show),
        Command(
            "set pagination",
            [
                "set confirm", "set height", "set width", "set verbose", "set disassembly-flavor",
                "set listsize",
                "set architecture",
            ], "VALUE", .scripts,
            "accepted from GDB's scripts, and changes nothing",
            details:
                "Output is not held up here, nothing is asked in a script, lines are as wide as the terminal, code is in Intel's syntax, and the processor's mode says how it is decoded.",
            examples: [.init("set pagination off", "as GDB's scripts begin")],
            whileRunning: true, action: ScriptActions.acceptSetting),
    ]
}

enum ScriptActions {
    static func begin(_ kind: BlockKind) -> Command.Action {
        { session, call throws(CommandError) in
            try checkWhole(call, kind)
            guard !call.rest.text.isEmpty else {
                throw call.usageError("`\(kind.rawValue)` needs an expression")
            }
            session.beginBlock(kind, call.line)
            return .done(Queued())
        }
    }

    /// Blocks are found by their first words, which therefore cannot be cut short.
    private static func checkWhole(_ call: Invocation, _ kind: BlockKind) throws(CommandError) {
        guard ScriptLine.words(of: call.line).first == kind.rawValue else {
            throw call.error(
                "`\(kind.rawValue)` has to be written in full", at: Argument(text: "", column: 0))
        }
    }

    static func outside(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        throw call.error(
            "`\(call.command.name)` belongs to no block", at: Argument(text: "", column: 0),
            remedy: "`if`, `while`, `define`, `document` and `commands` begin one")
    }

    static func leave(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try leaveRound(session, call, endingLoop: true)
    }

    static func goRound(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try leaveRound(session, call, endingLoop: false)
    }

    private static func leaveRound(
        _ session: Session, _ call: Invocation, endingLoop: Bool
    ) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard session.script.leaveRound(endingLoop: endingLoop) else {
            throw call.error(
                "`\(call.command.name)` stands in no `while`", at: Argument(text: "", column: 0))
        }
        return .done(Silence())
    }

    static func define(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try checkWhole(call, .define)
        let name = try name(session, call)
        if let hooked = hooked(name) {
            guard
                hooked == "stop" || session.userCommands[hooked] != nil
                    || session.table.command(named: hooked)?.name == hooked
                    || session.table.command(named: hooked.replacing("-", with: " ")) != nil
            else {
                throw call.error(
                    "there is no command `\(hooked.shortened)` to hook", at: call.rest,
                    suggestion: nearest(to: hooked, in: session.table.firstWords),
                    remedy: "its name in full, with `-` for a space")
            }
        } else if session.table.firstWords.contains(name) {
            throw call.error(
                "`\(name)` is a command of kvmscope", at: call.rest,
                remedy: "choose another name, or `define hook-\(name)` for what is done before it")
        }
        session.beginBlock(.define, "define \(name)")
        return .done(Queued())
    }

    private static func hooked(_ name: String) -> String? {
        for time in [UserCommands.HookTime.after, .before] where name.hasPrefix(time.rawValue) {
            return String(name.dropFirst(time.rawValue.count))
        }
        return nil
    }

    static func document(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try checkWhole(call, .document)
        let name = try name(session, call)
        guard session.userCommands[name] != nil else {
            throw call.error(
                "`\(name)` is no command of yours", at: call.rest, remedy: "`define \(name)` makes it one")
        }
        session.beginBlock(.document, "document \(name)")
        return .done(Queued())
    }

    /// A name that can be typed: letters, digits, `_`, `-` and `.`, a letter or `_` first.
    private static func name(_ session: Session, _ call: Invocation) throws(CommandError) -> String {
        let name = call.rest.text
        guard !name.isEmpty else { throw call.usageError("`\(call.command.name)` needs a name") }
        guard let first = name.first, first.isLetter || first == "_", name.utf8.count <= 100,
            name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "_-.".contains($0)) })
        else {
            throw call.error(
                "`\(name.shortened)` is no name of a command", at: call.rest,
                remedy: "letters, digits, `_`, `-` and `.`")
        }
        return name
    }

    static func showUser(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let name = call.rest.text
        guard !name.isEmpty else {
            return .done(UserCommandList(session.userCommands.names.compactMap { session.userCommands[$0] }))
        }
        guard let command = session.userCommands[name] else {
            throw call.error(
                "there is no command `\(name.shortened)` of yours", at: call.rest,
                suggestion: nearest(to: name, in: session.userCommands.names),
                remedy: "`show user` lists them")
        }
        return .done(UserCommandList([command], withLines: true))
    }

    static func printf(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(PrintedText(try formatted(session, call)))
    }

    private static func formatted(_ session: Session, _ call: Invocation) throws(CommandError) -> [UInt8] {
        let (format, operands) = try call.printFormat()
        return try PrintFormat(format, in: call).text(operands, session, call)
    }

    static func echo(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        // A space that was escaped at the end was cut off with those that were not.
        var text = call.rest.text
        if text.reversed().prefix(while: { $0 == "\\" }).count % 2 == 1 { text += " " }
        return .done(PrintedText(try call.unescaped(text, at: call.rest, offset: 0)))
    }

    static func eval(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let bytes = try formatted(session, call)
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw call.error("what the format makes is no text", at: call.rest)
        }
        let place = session.currentPlace
        let lines = text.split(separator: "\n").map { ScriptLine(text: String($0), place: place) }
        try session.script.push(.init(kind: .lines, content: .lines(lines)))
        return .done(Queued())
    }

    static func acceptSetting(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`\(call.command.name)` needs a value") }
        let name = ScriptLine.words(of: ScriptLine.words(of: call.line).rest).first
        return .done(Message("`\(name)` is a setting of GDB's; nothing is changed by it here."))
    }
}
