import Debugger

extension CommandTable {
    /// About other programs that debug the same guest.
    static let remoteCommands: [Command] = [
        Command(
            "gdbserver", [], "ADDR | stop", .other,
            "let GDB, LLDB and what speaks GDB's protocol debug the guest",
            details: """
                ADDR is `HOST:PORT`, `:PORT` for this host alone, or `unix:PATH`, a socket that only you can open. \
                `target remote ADDR` connects GDB, `gdb-remote PORT` connects LLDB. This session goes on beside the client: \
                a stop is shown in both, whoever resumed the guest, and the client's breakpoints are in `info breakpoints`. \
                `monitor COMMAND` in GDB gives a command of kvmscope's. Whoever can connect can do with the guest, \
                and with files by these commands, what you can: an ADDR that other hosts reach is for networks that you trust. \
                Without an argument it says who is served.
                """,
            examples: [
                .init("gdbserver :1234", "then, in GDB: target remote :1234"),
                .init("gdbserver unix:/tmp/guest.gdb", "the same by a socket of the file system"),
                .init("gdbserver stop", "nobody is served any more"),
                .init("gdbserver", "who is served"),
            ],
            completion: [.words(["stop"])], whileRunning: true, action: RemoteActions.serve),
        Command(
            "set disconnect", [], "stop|continue|auto", .other,
            "what becomes of the guest when a client of `gdbserver` goes away",
            details: """
                `auto`, as at the start: a client that detaches leaves the guest running; where one vanishes, a guest that \
                another program runs goes on, and one of kvmscope's own is stopped. Its breakpoints are deleted in any case.
                """,
            examples: [.init("set disconnect stop", "the guest is stopped when GDB goes")],
            completion: [.words(DisconnectPolicy.allCases.map(\.rawValue))], whileRunning: true,
            action: RemoteActions.setDisconnect),
        Command(
            "show disconnect", [], "", .other, "what becomes of the guest when a client goes away",
            whileRunning: true, action: RemoteActions.showDisconnect),
    ]
}

enum RemoteActions {
    static func serve(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        guard let argument = call.arguments.first else {
            return .done(Message(session.service?.summary ?? "Nobody is served; `gdbserver ADDR` begins."))
        }
        if argument.text == "stop" {
            let wasServed = session.stopService()
            return .done(Message(wasServed ? "Nobody is served any more." : "Nobody was served."))
        }
        do throws(CommandError) {
            return .done(Message(try session.startService(at: argument.text).summary))
        } catch {
            throw call.error(error.message, at: argument, remedy: error.remedy)
        }
    }

    static func setDisconnect(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let words = DisconnectPolicy.allCases.map(\.rawValue).joined(separator: ", ")
        guard let word = call.arguments.first else {
            throw call.usageError("`set disconnect` needs one of: \(words)")
        }
        guard let policy = DisconnectPolicy(rawValue: word.text.lowercased()) else {
            throw call.usageError("`\(word.text)` is none of: \(words)", at: word)
        }
        session.disconnectPolicy = policy
        return try showDisconnect(session, call)
    }

    static func showDisconnect(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let text =
            switch session.disconnectPolicy {
            case .automatic:
                "A client that detaches leaves the guest running; where one vanishes, another program's guest goes on, "
                    + "and kvmscope's own is stopped."
            case .stop: "The guest is stopped when a client goes away."
            case .continue: "The guest goes on when a client goes away."
            }
        return .done(Message(text))
    }
}
