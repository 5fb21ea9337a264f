import Debugger

extension CommandTable {
    static let faultCommands: [Command] = [
        Command(
            "set vector-check", [], "on|off", .breakpoints,
            "stop at interrupt vectors that hold 0000:0000, or do not",
            details: """
                On, as at the start: in real mode an INT whose vector is 0000:0000 stops the guest in front of it, and \
                whatever else leads to 0000:0000 stops it there. While the guest runs freely this takes a debug register, \
                if breakpoints leave one and some vector below 20h is empty when the guest begins to run; while it is \
                stepped nothing.
                """,
            completion: [.words(["on", "off"])], whileRunning: true, action: FaultActions.setVectorCheck),
        Command(
            "show vector-check", [], "", .breakpoints, "whether empty interrupt vectors stop the guest",
            whileRunning: true, action: FaultActions.showVectorCheck),
    ]
}

enum FaultActions {
    static func setVectorCheck(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        switch call.arguments.first?.text.lowercased() {
        case "on": session.debugger.stopsAtEmptyVectors = true
        case "off": session.debugger.stopsAtEmptyVectors = false
        default: throw call.usageError("`set vector-check` takes `on` or `off`", at: call.arguments.first)
        }
        return try showVectorCheck(session, call)
    }

    static func showVectorCheck(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(VectorCheckOutput(isOn: session.debugger.stopsAtEmptyVectors))
    }
}
