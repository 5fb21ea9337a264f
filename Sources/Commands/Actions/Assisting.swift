import DebugTarget
import Debugger

extension CommandTable {
    /// About instructions that the host's KVM cannot execute.
    static let assistCommands: [Command] = [
        Command(
            "info assist", [], "", .exits,
            "instructions that kvmscope has done because this host's KVM cannot",
            details: """
                A host whose KVM emulates the guest lacks some instructions: IRET and INT n outside real mode, a far RET \
                to an outer level, LAR, LSL, FWAIT, DAA, DAS, AAA, AAS, CMPXCHG16B, CLAC, STAC, XGETBV, hints. kvmscope does \
                them with all checks that the processor makes. Watchpoints see what such an instruction writes, and not what \
                it reads. Of code at CPL 3 that it emulates, KVM tells nobody: the guest gets #UD there. Where the processor runs the guest itself the list stays empty.
                """,
            examples: [.init("info assist", "which, how often, and where last")], whileRunning: true,
            action: AssistActions.list),
        Command(
            "set assist", [], "on|off", .exits,
            "do instructions that this host's KVM cannot, or stop at them",
            details: "On, as at the start. Off, the guest stops with KVM's internal error.",
            examples: [.init("set assist off", "to see what KVM itself does")],
            completion: [.words(["on", "off"])], whileRunning: true, action: AssistActions.set),
        Command(
            "show assist", [], "", .exits, "show whether instructions are done that this host's KVM cannot",
            whileRunning: true, action: AssistActions.show),
    ]
}

/// `info assist`.
struct AssistOutput: CommandOutput, Hashable {
    struct Row: Sendable, Hashable, Encodable {
        var instruction: String
        var count: UInt64
        /// Of these, how many raised an exception.
        var faults: UInt64
        /// Of the last one; linear.
        var lastAddress: Hex
    }
    var isOn: Bool
    var instructions: [Row]

    init(_ target: any Assisting) {
        isOn = target.assists
        instructions = target.assisted.map {
            Row(instruction: $0.name, count: $0.count, faults: $0.faults, lastAddress: Hex($0.lastAddress))
        }
    }

    func lines(width: Int) -> [StyledLine] {
        let state =
            "Instructions that this host's KVM cannot execute are \(isOn ? "done here" : "left alone")."
        guard !instructions.isEmpty else { return [StyledLine(state), StyledLine("None was met.", .dim)] }
        let room = instructions.map(\.instruction.count).max() ?? 0
        return [StyledLine(state)]
            + instructions.map { row in
                let gap = String(repeating: " ", count: room - row.instruction.count + 2)
                var line = StyledLine("  \(row.instruction)", .mnemonic)
                line.append("\(gap)\(counted(row.count, "time"))")
                if row.faults > 0 { line.append(", \(counted(row.faults, "exception"))") }
                line.append("  last at \(row.lastAddress)", .dim)
                return line
            }
    }
}

enum AssistActions {
    private static func target(_ session: Session, _ call: Invocation) throws(CommandError) -> any Assisting {
        guard let target = session.debugger.target as? any Assisting else {
            throw call.error(
                "another program runs the guest, and its instructions are done there",
                remedy: "`info exits` has what KVM reported")
        }
        return target
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(AssistOutput(try target(session, call)))
    }

    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let target = try target(session, call)
        switch call.arguments.first?.text.lowercased() {
        case "on": target.assists = true
        case "off": target.assists = false
        default: throw call.usageError("`set assist` takes `on` or `off`", at: call.arguments.first)
        }
        return try show(session, call)
    }

    static func show(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let isOn = try target(session, call).assists
        return .done(
            Message(
                isOn
                    ? "Instructions that this host's KVM cannot execute are done by kvmscope."
                    : "At an instruction that this host's KVM cannot execute the guest stops."))
    }
}
