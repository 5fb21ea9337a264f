import Debugger

extension CommandTable {
    static let breakpointCommands: [Command] = [
        Command(
            "break", ["b", "hbreak"], "[ADDR]", .breakpoints, "stop before the instruction at an address",
            details: """
                Without an address: at the next instruction. Breakpoints use the processor's debug registers, so \
                guest memory shows no patch, and a loader that overwrites the code does not remove them; there are \
                four.
                """,
            examples: [
                .init("b 0x7c00", "at a linear address"), .init("b 07c0:0010", "at a real-mode address"),
                .init("b $rip + 5", "at an expression"),
            ],
            completion: [.expression], whileRunning: true, action: BreakpointActions.set),
        Command(
            "tbreak", ["tb", "thbreak"], "[ADDR]", .breakpoints, "stop at an address once",
            details: "As `break`, but the breakpoint is gone after its first hit.",
            completion: [.expression], whileRunning: true, action: BreakpointActions.setTemporary),
        Command(
            "info breakpoints", ["blist"], "", .breakpoints, "list the breakpoints",
            details: "Number, state, address as it was given, linear address, how it is done, and hits.",
            whileRunning: true, action: BreakpointActions.list),
        Command(
            "delete", ["d", "del", "delete breakpoints"], "[N...]", .breakpoints,
            "delete breakpoints by number, or all",
            examples: [.init("delete 1 3", "those two"), .init("d", "all of them")],
            completion: [.breakpoint], whileRunning: true, action: BreakpointActions.delete),
        Command(
            "enable", ["bpe"], "[N...]", .breakpoints, "enable breakpoints by number, or all",
            completion: [.breakpoint], whileRunning: true, action: BreakpointActions.enable),
        Command(
            "disable", ["bpd", "dis"], "[N...]", .breakpoints, "disable breakpoints by number, or all",
            details: "A disabled breakpoint keeps its number and hits, and gives up its debug register.",
            completion: [.breakpoint], whileRunning: true, action: BreakpointActions.disable),
    ]
}

enum BreakpointActions {
    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try set(session, call, isTemporary: false)
    }

    static func setTemporary(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try set(session, call, isTemporary: true)
    }

    private static func set(
        _ session: Session, _ call: Invocation, isTemporary: Bool
    ) throws(CommandError) -> Outcome {
        let address: Address
        if call.rest.text.isEmpty {
            guard !session.isRunning else {
                throw call.usageError("a running guest has no next instruction: give an address")
            }
            address = .linear(session.debugger.selected.pc)
        } else {
            address = try session.location(call.rest, call)
        }
        let breakpoint = try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(at: address, isTemporary: isTemporary)
        }
        return .done(BreakpointSet(breakpoint: BreakpointRow(breakpoint)))
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(BreakpointList(breakpoints: session.debugger.breakpoints.map(BreakpointRow.init)))
    }

    static func delete(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let numbers = try numbers(session, call)
        guard !call.rest.text.isEmpty else {
            try call.perform { () throws(DebuggerError) in try session.debugger.deleteAllBreakpoints() }
            return .done(Message("Deleted \(counted(numbers.count, "breakpoint"))."))
        }
        for (number, argument) in numbers {
            try call.perform(at: argument) { () throws(DebuggerError) in
                try session.debugger.deleteBreakpoint(number)
            }
        }
        return .done(Message("Deleted \(counted(numbers.count, "breakpoint"))."))
    }

    static func enable(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try setEnabled(session, call, true)
    }

    static func disable(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try setEnabled(session, call, false)
    }

    private static func setEnabled(
        _ session: Session, _ call: Invocation, _ enabled: Bool
    ) throws(CommandError) -> Outcome {
        let numbers = try numbers(session, call)
        for (number, argument) in numbers {
            try call.perform(at: argument) { () throws(DebuggerError) in
                try session.debugger.setBreakpoint(number, enabled: enabled)
            }
        }
        let verb = enabled ? "Enabled" : "Disabled"
        return .done(Message("\(verb) \(counted(numbers.count, "breakpoint"))."))
    }

    /// The breakpoints that the arguments name, each once, or all. All are checked before anything is done.
    private static func numbers(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [(number: Int, argument: Argument)] {
        let known = session.debugger.breakpoints.map(\.number)
        let arguments = call.arguments
        guard !arguments.isEmpty else { return known.map { ($0, call.rest) } }
        var result: [(number: Int, argument: Argument)] = []
        for argument in arguments {
            guard let number = Int(argument.text), known.contains(number) else {
                throw call.error(
                    "there is no breakpoint `\(argument.text)`", at: argument,
                    remedy: known.isEmpty
                        ? "none is set" : "breakpoints: " + known.map(String.init).joined(separator: ", "))
            }
            if !result.contains(where: { $0.number == number }) { result.append((number, argument)) }
        }
        return result
    }
}
