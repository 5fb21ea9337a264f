import Debugger

extension CommandTable {
    static let pastCommands: [Command] = [
        Command(
            "revisit", ["tfind"], "[N|-|+|now]", .running, "look at an earlier stop",
            details: """
                The last \(Debugger.historyLimit) stops are kept: all registers and, of memory, what the screen showed of \
                it. What reads goes by the stop that is looked at, and edits are refused, until `revisit now` or until the \
                guest is resumed, which it is from where it stands. `-` or nothing is the stop before, `+` the one after.
                """,
            examples: [
                .init("revisit 0", "the first stop"), .init("revisit now", "the present"),
            ],
            repeatable: true, action: PastActions.revisit),
        Command(
            "info stops", [], "", .running, "list the stops that can be revisited",
            whileRunning: true, action: PastActions.list),
    ]
}

enum PastActions {
    static func revisit(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let debugger = session.debugger
        let number: Int
        switch call.arguments.first?.text {
        case nil, "-"?, "back"?: number = debugger.stop.number - 1
        case "+"?, "forward"?: number = debugger.stop.number + 1
        case "now"?, "none"?: number = debugger.latestStop.number
        case let text?:
            guard let parsed = Int(text) else {
                throw call.error(
                    "`\(text)` is no stop", at: call.arguments[0],
                    remedy: "give the number of one (`info stops` has them), `-`, `+` or `now`")
            }
            number = parsed
        }
        try call.perform(at: call.arguments.first) { () throws(DebuggerError) in
            try debugger.revisit(number)
        }
        return .done(
            RevisitedStop(
                latest: debugger.latestStop.number, isPast: debugger.isRevisiting,
                stop: session.stopOutput(for: debugger.stop) as? StopOutput))
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let debugger = session.debugger
        return .done(
            StopList(
                stops: debugger.history.map { stop in
                    StopList.Row(stop, isShown: stop.number == debugger.stop.number)
                }))
    }
}
