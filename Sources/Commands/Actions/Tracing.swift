import Debugger

extension CommandTable {
    static let traceCommands: [Command] = [
        Command(
            "set trace", ["trace", "trace-reg"], "on|off", .breakpoints,
            "step every instruction and keep it, or do not",
            details: """
                While it is on the guest is stepped, and `info blackbox N` shows the last 256 instructions with their \
                registers: slow. Off at first. A guest can ask for it by port 0x8a00 (Bochs' iodebug): 0x8ae3 and 0x8ae5 \
                turn it on, 0x8ae2 and 0x8ae4 off; the next stop says so. Bochs' names are `trace on` and `trace-reg on`.
                """,
            examples: [
                .init("trace on", "all that follows is kept"), .init("trace off", "at full speed again"),
            ],
            completion: [.words(["on", "off"])], whileRunning: true, action: TraceActions.set),
        Command(
            "show trace", [], "", .breakpoints, "whether every instruction is stepped and kept",
            whileRunning: true, action: TraceActions.show),
    ]
}

enum TraceActions {
    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let isOn: Bool
        switch call.arguments.first?.text.lowercased() {
        case "on": isOn = true
        case "off": isOn = false
        default: throw call.usageError("`set trace` takes `on` or `off`", at: call.arguments.first)
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.setTracing(isOn) }
        session.toldTracing = isOn
        return try show(session, call)
    }

    static func show(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(TraceOutput(isOn: session.debugger.isTracing))
    }
}

/// Whether every instruction is stepped and kept.
public struct TraceOutput: CommandOutput, Hashable {
    public var isOn: Bool

    private enum CodingKeys: String, CodingKey { case isOn = "trace" }

    public func lines(width: Int) -> [StyledLine] {
        [
            StyledLine(
                isOn
                    ? "Tracing is on: every instruction is stepped and kept with its registers; `info blackbox` shows them."
                    : "Tracing is off.")
        ]
    }
}

extension Session {
    /// A stop says what the guest did about tracing meanwhile.
    func noteTracing(_ output: inout StopOutput) {
        guard debugger.isTracing != toldTracing else { return }
        toldTracing = debugger.isTracing
        output.tracing = debugger.isTracing
    }
}
