import Debugger

enum WatchActions {
    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (rest, condition) = call.condition(in: call.rest)
        var words = split(rest)
        guard let first = words.first else { throw call.usageError("`watch` needs an address") }
        var access = Breakpoint.Access.write
        if let given = Breakpoint.Access(rawValue: first.text.lowercased()) {
            access = given
            words.removeFirst()
        } else if first.text.lowercased() == "wr" {
            access = .both
            words.removeFirst()
        }
        guard let place = words.first else { throw call.usageError("`watch` needs an address") }
        guard words.count <= 2 else {
            throw call.usageError(
                "`watch` takes an address and a length; put an expression with spaces in parentheses",
                at: words[2])
        }
        let address = try session.address(place, call)
        var length: UInt64 = 1
        if words.count == 2 { length = try session.number(words[1], call) }
        try BreakpointActions.check(condition, session, call)
        let breakpoint = try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.setWatchpoint(
                at: address, length: Int(clamping: length), access: access, condition: condition?.text)
        }
        return .done(BreakpointSet(breakpoint: BreakpointRow(breakpoint)))
    }

    static func delete(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        var numbers: [Int] = []
        if call.rest.text.isEmpty {
            numbers = session.debugger.breakpoints.filter { $0.kind == .watch }.map(\.number)
        } else {
            for (number, argument) in try BreakpointActions.numbers(session, call) {
                guard (try? session.debugger.breakpoint(number))?.kind == .watch else {
                    throw call.error(
                        "\(number) is a breakpoint, not a watchpoint", at: argument,
                        remedy: "`delete` deletes either")
                }
                numbers.append(number)
            }
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.deleteBreakpoints(numbers) }
        return .done(Message("Deleted \(counted(numbers.count, "watchpoint"))."))
    }
}
