import DebugTarget
import Debugger

extension CommandTable {
    static let steppingCommands: [Command] = [
        Command(
            "step", ["stepi", "s", "si"], "[N | until EXPR | all [N]]", .running,
            "step N guest instructions, or one",
            details: """
                Each instruction is one guest instruction of the selected vCPU; the other vCPUs are stopped. \
                Interrupts are held off where the host can do that, see `set step-interrupts`. A CALL or INT is \
                entered; `next` steps over them. With `until`, steps until an expression is not 0. With `all`, each \
                vCPU steps N instructions, in turns.
                """,
            examples: [
                .init("step", "one instruction"), .init("s 1000", "a thousand, then stop"),
                .init("s until $cx == 0", "as many as that takes"),
                .init("s all 10", "ten instructions of each vCPU"),
            ],
            completion: [.expression], repeatable: true, action: SteppingActions.step),
        Command(
            "next", ["nexti", "n", "ni"], "[N]", .running, "step over calls, interrupts and loops",
            details: """
                As `step`, but a CALL, INT, REP, LOOP or HLT is done as one: the guest runs until it comes back. A \
                breakpoint inside stops it there.
                """,
            examples: [.init("n", "over `int 0x10`, say")],
            completion: [.expression], repeatable: true, action: SteppingActions.next),
        Command(
            "finish", ["out", "fin"], "", .running, "go on until this code returns",
            details: """
                By a RET or IRET that takes its address from the stack as it is now. No frame pointer is needed: what \
                lies between is stepped, calls and interrupts in it are run. Ctrl-C ends it early. It is refused where no \
                CALL, INT or vector that leads to this code has left its address on the stack.
                """,
            examples: [.init("finish", "out of a routine or an interrupt handler")],
            repeatable: true, action: SteppingActions.finish),
        Command(
            "until", [], "[ADDR]", .running, "step over calls, and never back; or run to an address",
            details: """
                Without an address as `next`, but a jump back is followed until the guest is past where it stood: at the \
                end of a loop, until the loop is over. With one as `advance`.
                """,
            examples: [
                .init("until", "out of a loop"), .init("until 0x7c20", "to that linear address"),
            ],
            completion: [.expression], repeatable: true, action: SteppingActions.until),
        Command(
            "advance", [], "ADDR", .running, "run to an address",
            details: "Stops there once, or earlier at a breakpoint.",
            examples: [
                .init("advance 0x7c20", "to that linear address"), .init("advance 0:7c20", "as SEG:OFF"),
            ],
            completion: [.expression], action: SteppingActions.advance),
        Command(
            "step-until", [], "iret|ret|int|branch|call", .running, "step to the next instruction of a kind",
            details: """
                One step at least, calls and interrupts are entered, and the guest stops before the instruction. \
                `branch` is whatever may go elsewhere, the others included.
                """,
            examples: [
                .init("step-until int", "to the next INT"),
                .init("step-until branch", "to where code divides"),
            ],
            completion: [.words(InstructionKind.allCases.map(\.rawValue))], repeatable: true,
            action: SteppingActions.stepUntil),
        Command(
            "set step-interrupts", [], "on|off", .running, "take interrupts while stepping, or hold them off",
            details: """
                Off, as at the start: a step never ends in the handler of a timer. What was held is told, and comes when \
                the guest runs. It needs a KVM with KVM_GUESTDBG_BLOCKIRQ; without it interrupts come.
                """,
            completion: [.words(["on", "off"])], whileRunning: true, action: SteppingActions.setInterrupts),
        Command(
            "show step-interrupts", [], "", .running, "show whether steps take interrupts",
            whileRunning: true, action: SteppingActions.showInterrupts),
    ]
}

enum SteppingActions {
    static func step(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        switch arguments.first?.text {
        case "until": return try step(session, call, untilTrue: arguments)
        case "all": return try stepAll(session, call, arguments)
        default: break
        }
        let count = try session.count(call)
        try call.perform { () throws(DebuggerError) in try session.debugger.startStep(count: count) }
        return session.running("step", [session.debugger.selectedVCPU])
    }

    private static func step(
        _ session: Session, _ call: Invocation, untilTrue arguments: [Argument]
    ) throws(CommandError) -> Outcome {
        guard arguments.count > 1 else { throw call.usageError("`step until` needs an expression") }
        let start = arguments[1].start
        let expression = Argument(
            text: String(call.line.dropFirst(start).prefix(call.rest.column + call.rest.text.count - start)),
            column: start)
        try call.perform(at: expression) { () throws(DebuggerError) in
            try session.debugger.startStep(untilTrue: expression.text)
        }
        return session.running("step", [session.debugger.selectedVCPU])
    }

    private static func stepAll(
        _ session: Session, _ call: Invocation, _ arguments: [Argument]
    ) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        var count = 1
        if arguments.count > 1 {
            count = Int(clamping: try session.number(arguments[1], call))
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.startStepAll(count: count) }
        return session.running("step", session.debugger.target.vcpus.map(\.id))
    }

    static func next(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call)
        try call.perform { () throws(DebuggerError) in try session.debugger.startNext(count: count) }
        return session.running("next", [session.debugger.selectedVCPU])
    }

    static func finish(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        try call.perform { () throws(DebuggerError) in try session.debugger.startFinish() }
        return session.running("finish", session.debugger.target.vcpus.map(\.id))
    }

    static func until(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard call.rest.text.isEmpty else { return try run(session, call, "until") }
        try call.perform { () throws(DebuggerError) in try session.debugger.startUntilPast() }
        return session.running("until", session.debugger.target.vcpus.map(\.id))
    }

    static func advance(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else {
            throw call.usageError("`advance` needs an address")
        }
        return try run(session, call, "advance")
    }

    private static func run(
        _ session: Session, _ call: Invocation, _ action: String
    ) throws(CommandError) -> Outcome {
        let address = try session.location(call.rest, call)
        try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.startRun(to: address)
        }
        return session.running(action, session.debugger.target.vcpus.map(\.id))
    }

    static func stepUntil(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let names = InstructionKind.allCases.map(\.rawValue)
        guard let word = call.arguments.first else {
            throw call.usageError("`step-until` needs a kind of instruction")
        }
        guard let kind = InstructionKind(rawValue: word.text.lowercased()) else {
            throw call.error(
                "`\(word.text)` is no kind of instruction", at: word,
                suggestion: nearest(to: word.text, in: names),
                remedy: "one of \(names.joined(separator: ", ")); `step until EXPR` takes an expression")
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.startStep(until: kind) }
        return session.running("step-until", [session.debugger.selectedVCPU])
    }

    static func setInterrupts(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        guard let word = call.arguments.first else {
            throw call.usageError("`set step-interrupts` needs `on` or `off`")
        }
        switch word.text.lowercased() {
        case "on": session.debugger.takesInterruptsWhileStepping = true
        case "off": session.debugger.takesInterruptsWhileStepping = false
        default: throw call.usageError("`\(word.text)` is neither `on` nor `off`", at: word)
        }
        return try showInterrupts(session, call)
    }

    static func showInterrupts(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(
            StepInterruptsOutput(
                isOn: session.debugger.takesInterruptsWhileStepping,
                canHold: session.debugger.canHoldInterrupts))
    }
}
