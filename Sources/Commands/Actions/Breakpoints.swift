import DebugTarget
import Debugger
import X86

extension CommandTable {
    static let breakpointCommands: [Command] = [
        Command(
            "break", ["b"], "[ADDR] [if EXPR]", .breakpoints, "stop before the instruction at an address",
            details: """
                Without an address: at the next instruction. `p:ADDR` is a physical address. `7c00`, which can be \
                nothing else, is hexadecimal; `100` is decimal, as in every expression. Any number can be set; how \
                each is done is chosen when it is set, and shown: a debug register first, which changes nothing and \
                needs no code to be there; then a patch in the code, which no command shows and which is put \
                back when the guest overwrites it (the guest itself can read it); then single steps, which are \
                slow. With `if` the guest stops only where the expression is not 0. A patch stays in its physical page \
                through every change of mode and page tables. Where a linear address leads to another page in other \
                tables, that page gets one at the first stop with them; `hbreak` needs no such stop.
                """,
            examples: [
                .init("b 0x7c00", "at a linear address, as `b 7c00`"),
                .init("b 07c0:0010", "at a real-mode address"),
                .init("b $rip + 5 if $cx == 0", "at an expression, on a condition"),
            ],
            completion: [.expression], whileRunning: true, action: BreakpointActions.set),
        Command(
            "tbreak", ["tb"], "[ADDR] [if EXPR]", .breakpoints, "stop at an address once",
            details: "As `break`, but the breakpoint is gone after its first hit.",
            completion: [.expression], whileRunning: true, action: BreakpointActions.setTemporary),
        Command(
            "hbreak", ["hb"], "[ADDR] [if EXPR]", .breakpoints, "stop at an address by a debug register",
            details: """
                As `break`, but by a debug register or not at all: the guest cannot see it. There are four. Breakpoints \
                that `break` has put into registers make room where they can be patches.
                """,
            completion: [.expression], whileRunning: true, action: BreakpointActions.setHardware),
        Command(
            "thbreak", [], "[ADDR] [if EXPR]", .breakpoints, "stop at an address once, by a debug register",
            completion: [.expression], whileRunning: true, action: BreakpointActions.setTemporaryHardware),
        Command(
            "lb", ["lbreak"], "ADDR [if EXPR]", .breakpoints, "stop at a linear address",
            details: "As `break`; Bochs' name.",
            completion: [.expression], whileRunning: true, action: BreakpointActions.setLinear),
        Command(
            "pb", ["pbreak"], "ADDR [if EXPR]", .breakpoints, "stop at a physical address",
            details: "Whatever linear address leads there. ADDR is physical with or without `p:`.",
            examples: [.init("pb 0x100000", "where a kernel is loaded, before and after paging is on")],
            completion: [.expression], whileRunning: true, action: BreakpointActions.setPhysical),
        Command(
            "vb", ["vbreak"], "SEG:OFF [if EXPR]", .breakpoints, "stop where CS and IP are these",
            details: "Not at the same linear address by way of another segment, as `break SEG:OFF` does.",
            examples: [.init("vb f000:fff0", "the reset vector")],
            completion: [.expression], whileRunning: true, action: BreakpointActions.setVirtual),
        Command(
            "watch", [], "[w|r|rw] ADDR [LEN] [if EXPR]", .breakpoints, "stop after an access to memory",
            details: """
                LEN bytes, 1 without. Writes (w, the default) are seen by debug registers where the host's fire, otherwise \
                by the page's protection, which sees reads, too, and each access with its exact bytes. On the page of \
                a stack neither works: there every instruction is stepped and what it changed is compared, which is \
                slow. Reads cannot be watched on pages with running code, a stack or the processor's tables.
                """,
            examples: [
                .init("watch 0x7dfe 2", "writes to two bytes"), .init("watch rw 0x9000 16", "reads, too"),
                .init("watch w 0x500 4 if $al == 7", "on a condition"),
            ],
            completion: [.none, .expression], whileRunning: true, action: WatchActions.set),
        Command(
            "unwatch", [], "[N...]", .breakpoints, "delete watchpoints by number, or all",
            completion: [.breakpoint], whileRunning: true, action: WatchActions.delete),
        Command(
            "info breakpoints", ["blist", "info watchpoints", "info b"], "", .breakpoints,
            "list the breakpoints and watchpoints",
            details: """
                Number, state, address as it was given, linear address, how it is done, and hits; below, its condition, how \
                many hits more are ignored, and its commands.
                """,
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
            details: """
                A disabled breakpoint keeps its number and hits, and gives up its debug register or its patch.
                """,
            completion: [.breakpoint], whileRunning: true, action: BreakpointActions.disable),
        Command(
            "condition", ["cond"], "N [EXPR]", .breakpoints, "give a breakpoint a condition, or take it off",
            examples: [
                .init("condition 1 $cx == 0 && *(u8*)0x500 > 3", "only then"), .init("condition 1", "always"),
            ],
            completion: [.breakpoint, .expression], whileRunning: true, action: BreakpointActions.condition),
        Command(
            "ignore", [], "N COUNT", .breakpoints, "pass over the next COUNT hits of a breakpoint",
            examples: [.init("ignore 1 99", "stop at the hundredth")],
            completion: [.breakpoint, .expression], whileRunning: true, action: BreakpointActions.ignore),
        Command(
            "commands", [], "[N] [LINE; LINE...]", .breakpoints,
            "do commands after each stop at a breakpoint",
            details: """
                Without N: the breakpoint set last. Without lines here, those that follow are taken up to `end`. None \
                at all takes them off. `silent` as the first keeps the stop itself quiet; a `continue` as the last \
                makes a trace.
                """,
            examples: [
                .init("commands 1 regs; x/4i; continue", "on one line"),
                .init("commands 1", "the lines that follow, up to `end`"),
                .init("commands 1 end", "none any more"),
            ],
            completion: [.breakpoint, .command], whileRunning: true, action: BreakpointActions.commands),
    ]
}

enum BreakpointActions {
    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call)
    }

    static func setTemporary(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call, isTemporary: true)
    }

    static func setHardware(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call, needsRegister: true)
    }

    static func setTemporaryHardware(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Outcome {
        try make(session, call, isTemporary: true, needsRegister: true)
    }

    static func setLinear(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call, kind: .linear)
    }

    static func setPhysical(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call, kind: .physical)
    }

    static func setVirtual(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try make(session, call, kind: .virtual)
    }

    private static func make(
        _ session: Session, _ call: Invocation, kind: Breakpoint.Kind? = nil, isTemporary: Bool = false,
        needsRegister: Bool = false
    ) throws(CommandError) -> Outcome {
        let (place, condition) = call.condition(in: call.rest)
        var address: Address
        if place.text.isEmpty {
            guard kind == nil else { throw call.usageError("`\(call.command.name)` needs an address") }
            guard !session.isRunning else {
                throw call.usageError("a running guest has no next instruction: give an address")
            }
            address = .linear(session.debugger.selected.pc)
        } else {
            address = try session.location(place, call)
        }
        if kind == .physical {
            switch address {
            case .linear(let value): address = .physical(value)
            case .physical: break
            case .virtual, .segmented:
                throw call.error("a physical address is needed: a number, or `p:ADDR`", at: place)
            }
        }
        try check(condition, session, call)
        let breakpoint = try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(
                at: address, kind: kind, isTemporary: isTemporary, condition: condition?.text,
                needsRegister: needsRegister)
        }
        return .done(BreakpointSet(breakpoint: BreakpointRow(breakpoint)))
    }

    /// A condition's errors, with a caret in it.
    static func check(
        _ condition: Argument?, _ session: Session, _ call: Invocation
    ) throws(CommandError) {
        guard let condition else { return }
        try call.perform(at: condition) { () throws(DebuggerError) in
            try session.debugger.checkCondition(condition.text)
        }
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let breakpoints = session.debugger.breakpoints
        let counts = session.hostCounts(
            of: breakpoints.compactMap { each in each.event.map { (each.number, $0) } })
        return .done(
            BreakpointList(
                breakpoints: breakpoints.map { BreakpointRow($0, onHost: counts[$0.number]) }))
    }

    static func delete(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let numbers = try numbers(session, call)
        guard !call.rest.text.isEmpty else {
            try call.perform { () throws(DebuggerError) in try session.debugger.deleteAllBreakpoints() }
            return .done(Message("Deleted \(counted(numbers.count, "breakpoint"))."))
        }
        try call.perform { () throws(DebuggerError) in
            try session.debugger.deleteBreakpoints(numbers.map(\.number))
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
        do throws(DebuggerError) {
            try session.debugger.setBreakpoints(numbers.map(\.number), enabled: enabled)
        } catch {
            // Those in front of the one that cannot be enabled are.
            let failed = numbers.first { number, _ in
                (try? session.debugger.breakpoint(number).isEnabled) != enabled
            }
            try call.perform(at: failed?.argument ?? call.rest) { () throws(DebuggerError) in throw error }
        }
        let verb = enabled ? "Enabled" : "Disabled"
        return .done(Message("\(verb) \(counted(numbers.count, "breakpoint"))."))
    }

    static func condition(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (number, argument, rest) = try numberAndRest(session, call)
        guard !rest.text.isEmpty else {
            try call.perform(at: argument) { () throws(DebuggerError) in
                try session.debugger.setBreakpoint(number, condition: nil)
            }
            return .done(Message("Breakpoint \(number) stops the guest always."))
        }
        try call.perform(at: rest) { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(number, condition: rest.text)
        }
        return .done(Message("Breakpoint \(number) stops the guest only if \(rest.text)."))
    }

    static func ignore(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (number, _, rest) = try numberAndRest(session, call)
        guard !rest.text.isEmpty else { throw call.usageError("`ignore` needs a count") }
        let count = try session.number(rest, call)
        guard let hits = Int(exactly: count) else {
            throw call.error("that many hits never come", at: rest)
        }
        try call.perform(at: rest) { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(number, ignore: hits)
        }
        return .done(Message("Breakpoint \(number) passes over the next \(counted(hits, "hit"))."))
    }

    static func commands(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard let last = session.debugger.lastBreakpoint else {
            throw call.error("there is no breakpoint", remedy: "set one first")
        }
        var number = last
        var rest = call.rest
        if let first = call.arguments.first, first.text.allSatisfy(\.isNumber) || first.text == "$bpnum" {
            (number, _, rest) = try numberAndRest(session, call)
        }
        guard !rest.text.isEmpty else {
            session.collectCommands(for: number, call.line)
            return .done(
                Message("Commands for breakpoint \(number): one a line, `end` after the last."))
        }
        var lines = rest.text.split(separator: ";").map { line in
            String(line.drop(while: \.isWhitespace))
        }.filter { !$0.isEmpty }
        if lines.last == "end" { lines.removeLast() }
        return .done(try setCommands(lines, of: number, session, call))
    }

    static func setCommands(
        _ lines: [String], of number: Int, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Message {
        try call.perform { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(number, commands: lines)
        }
        return .commands(lines.count, of: number)
    }

    /// A breakpoint's number, and what stands after it.
    private static func numberAndRest(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> (Int, Argument, Argument) {
        guard let first = call.arguments.first else {
            throw call.usageError("`\(call.command.name)` needs the number of a breakpoint")
        }
        let number = try number(first, session, call)
        var rest = call.rest
        let behind = first.end - rest.column
        rest.text = String(rest.text.dropFirst(behind))
        rest.column += behind
        while rest.text.first?.isWhitespace == true {
            rest.text.removeFirst()
            rest.column += 1
        }
        return (number, first, rest)
    }

    private static func number(
        _ argument: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Int {
        var number = Int(argument.text)
        if argument.text.hasPrefix("$") { number = Int(exactly: try session.number(argument, call)) }
        if let number, (try? session.debugger.breakpoint(number)) != nil {
            return number
        }
        let known = session.debugger.breakpoints.map(\.number)
        var list = known.prefix(20).map(String.init).joined(separator: ", ")
        if known.count > 20 { list += " and \(known.count - 20) more" }
        throw call.error(
            "there is no breakpoint `\(argument.text)`", at: argument,
            remedy: known.isEmpty ? "none is set" : "breakpoints: " + list)
    }

    /// GDB's `FIRST-LAST`: those there are of them. None for another argument.
    private static func range(_ argument: Argument, _ session: Session) -> [Int] {
        let ends = argument.text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else { return [] }
        return session.debugger.breakpoints.map(\.number).filter { (first...last).contains($0) }
    }

    /// The breakpoints that the arguments name, each once, or all. All are checked before anything is done.
    static func numbers(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [(number: Int, argument: Argument)] {
        let arguments = call.arguments
        guard !arguments.isEmpty else { return session.debugger.breakpoints.map { ($0.number, call.rest) } }
        var result: [(number: Int, argument: Argument)] = []
        var seen: Set<Int> = []
        for argument in arguments {
            var named = range(argument, session)
            if named.isEmpty { named = [try number(argument, session, call)] }
            for number in named where seen.insert(number).inserted { result.append((number, argument)) }
        }
        return result
    }
}

extension Message {
    /// What `commands` says when it is done.
    static func commands(_ count: Int, of number: Int) -> Message {
        Message(
            count == 0
                ? "Breakpoint \(number) has no commands."
                : "Breakpoint \(number) has \(counted(count, "command")).")
    }
}

extension Invocation {
    /// What stands before and after the word `if`.
    func condition(in argument: Argument) -> (place: Argument, condition: Argument?) {
        let words = split(argument)
        guard let word = words.first(where: { $0.text == "if" && !$0.isQuoted }) else {
            return (argument, nil)
        }
        let offset = word.column - argument.column
        var place = Argument(text: String(argument.text.prefix(offset)), column: argument.column)
        while place.text.last?.isWhitespace == true { place.text.removeLast() }
        var condition = Argument(text: String(argument.text.dropFirst(offset + 2)), column: word.column + 2)
        while condition.text.first?.isWhitespace == true {
            condition.text.removeFirst()
            condition.column += 1
        }
        return (place, condition)
    }
}
