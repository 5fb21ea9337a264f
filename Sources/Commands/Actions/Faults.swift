import Debugger

extension CommandTable {
    static let faultCommands: [Command] = [
        Command(
            "set vector-check", [], "on|off", .breakpoints,
            "stop at interrupt vectors that hold 0000:0000, or do not",
            details: """
                On, as at the start: in real mode an INT whose vector is 0000:0000 stops the guest in front of it, and \
                whatever else leads to 0000:0000 stops it there. In protected and 64-bit mode a jump, call or return to \
                address 0 stops it there, if zeros stand there and no code. While the guest runs freely this takes a debug \
                register, if breakpoints leave one and some vector below 20h is empty, or zeros stand at 0, when the guest \
                begins to run; while it is stepped nothing. A jump to zeros elsewhere stops nothing, because zeros are \
                instructions: the next stop says that the vCPU stands among zeros. For a guest that another program runs it \
                is off at the start: to look means to hold that guest, and it has firmware.
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
