import Debugger

extension CommandTable {
    /// What is kept for another session.
    static let savingCommands: [Command] = [
        Command(
            "save breakpoints", [], "FILE", .scripts, "write the breakpoints as commands that set them",
            details: """
                Watchpoints and catchpoints, too, with conditions, counts and commands. `source FILE` sets them again.
                """,
            completion: [.file], whileRunning: true, action: SavingActions.breakpoints),
        Command(
            "save session", [], "FILE", .scripts, "write all that was set up, to go on another time",
            details: """
                How the guest is started, symbols, directories, variables, commands of your own, breakpoints and displays. \
                `kvmscope --session FILE` starts the guest again and sets them up. The state of the guest is not in it.
                """,
            completion: [.file], whileRunning: true, action: SavingActions.session),
        Command(
            "kept", ["kept breakpoints"], "", .breakpoints,
            "set the breakpoints that are kept from the session before with this image",
            details: """
                At the end of a session on a terminal the breakpoints are kept for its image, which is known by its path and \
                its bytes. They are never set unasked.
                """,
            whileRunning: true, action: SavingActions.kept),
    ]
}

enum SavingActions {
    static func breakpoints(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let file = try file(call)
        let lines = SavedState(session).breakpoints()
        try write(lines, file, session, call)
        let count = session.debugger.breakpoints.count { $0.origin == nil }
        return .done(Message("Saved \(counted(count, "breakpoint")); `source \(file.text)` sets them."))
    }

    static func session(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let file = try file(call)
        guard let arguments = session.guestArguments else {
            throw call.error(
                "how this guest was started is not known", remedy: "`save breakpoints` saves them alone")
        }
        var state = SavedState(session)
        let lines = state.everything()
        try write(SessionFile.head(arguments) + lines, file, session, call)
        let done = "Saved the session; `kvmscope --session \(file.text)` goes on with it."
        return .done(Message(([done] + state.omitted).joined(separator: "\n")))
    }

    static func kept(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let kept = KeptBreakpoints(session) else {
            throw call.error("breakpoints are kept for guests that are loaded from a file")
        }
        _ = try kept.enqueue(call)
        return .done(Queued())
    }

    private static func file(_ call: Invocation) throws(CommandError) -> Argument {
        let arguments = call.arguments
        guard arguments.count == 1 else { throw call.usageError("`\(call.command.name)` takes one file") }
        return arguments[0]
    }

    private static func write(
        _ lines: [String], _ file: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) {
        try Files.write(Array(lines.map { $0 + "\n" }.joined().utf8), file, session, call)
    }
}
