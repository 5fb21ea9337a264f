import Debugger
import X86

extension CommandTable {
    static let unwindCommands: [Command] = [
        Command(
            "telescope", ["deref", "dereference"], "[ADDR [N]]", .code, "show words and where they lead",
            details: """
                From the stack's top if no ADDR is given, 8 words if no N is. Pointers are followed five steps, to \
                the value, text or code at their end. In 16-bit modes every number points somewhere: none \
                is followed.
                """,
            examples: [.init("telescope", "the stack"), .init("deref $rsi 4", "four words")],
            completion: [.expression], whileRunning: true, action: UnwindActions.telescope),
        Command(
            "backtrace", ["bt", "where"], "[N]", .code, "show the calls that led here, by frame pointers",
            details: """
                64 at most if no N is given. Words are as wide as the mode's code. A frame is shown where a near call, a \
                far call, an INT or an interrupt leads from its return address; where none does, the chain ends.
                """,
            completion: [.expression], whileRunning: true, action: UnwindActions.backtrace),
    ]
}

enum UnwindActions {
    static func telescope(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        var address: Address?
        if let first = call.arguments.first { address = try session.address(first, call) }
        var count: UInt64 = 8
        if call.arguments.count > 1 { count = try session.number(call.arguments[1], call) }
        guard count > 0, count <= 65_536 else {
            throw call.error("a count is from 1 to 65,536", at: call.arguments.last)
        }
        let place = address
        let rows = try call.perform(at: call.arguments.first) { () throws(DebuggerError) in
            try session.debugger.telescope(at: place, count: Int(count))
        }
        if let first = rows.first, rows.allSatisfy({ $0.value == nil }) {
            throw call.error("\(first.address) cannot be read", at: call.arguments.first)
        }
        return .done(TelescopeOutput(vcpu: session.debugger.selectedVCPU, rows, session.debugger.symbols))
    }

    static func backtrace(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call, or: 64)
        let trace = try call.perform { () throws(DebuggerError) in
            try session.debugger.backtrace(limit: min(count, 65_536))
        }
        return .done(BacktraceOutput(vcpu: session.debugger.selectedVCPU, trace, session.debugger.symbols))
    }
}
