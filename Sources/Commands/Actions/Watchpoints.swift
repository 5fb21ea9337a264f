import Debugger
import Symbols
import X86

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
        let (address, length) = try extent(place, words.dropFirst().first, session, call)
        try BreakpointActions.check(condition, session, call)
        let breakpoint = try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.setWatchpoint(
                at: address, length: Int(clamping: length), access: access, condition: condition?.text)
        }
        return .done(BreakpointSet(breakpoint: BreakpointRow(breakpoint)))
    }

    /// What is to be watched. GDB watches what an expression names: `*(u32*)ADDR` and its like say address and size, a
    /// variable's symbol has its size. Any other expression is the address, of one byte if no length is given.
    private static func extent(
        _ place: Argument, _ given: Argument?, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> (Address, UInt64) {
        let object = try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.object(place.text)
        }
        switch object {
        case .memory(let address, let size)?:
            guard given == nil else {
                throw call.error(
                    "`\(place.text.shortened)` says itself that it is \(counted(size, "byte"))", at: given,
                    remedy: "give it alone, or an address and a length")
            }
            return (address, UInt64(size))
        case .register(let name)? where given == nil:
            throw call.error(
                "a register is not watched; of memory at its address say how much", at: place,
                remedy: "as in: watch *(u16*)$\(name) or watch $\(name) 2")
        case .symbol(let symbol)? where given == nil && symbol.kind == .data && symbol.size > 0:
            return (try session.address(place, call), symbol.size)
        default:
            let address = try session.address(place, call)
            guard let given else { return (address, 1) }
            return (address, try session.number(given, call))
        }
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
