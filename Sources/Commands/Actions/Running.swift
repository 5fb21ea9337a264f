import Debugger

extension CommandTable {
    static let runningCommands: [Command] = [
        Command(
            "step", ["stepi", "s", "si"], "[N]", .running, "step N guest instructions, or one",
            details: """
                Each instruction is one guest instruction of the selected vCPU; the other vCPUs stand still. \
                Interrupts are held off where the host can do that. A CALL or INT is entered; `next` steps over \
                them.
                """,
            examples: [
                .init("step", "one instruction"), .init("s 1000", "a thousand, then stop"),
            ],
            completion: [.expression], repeatable: true, action: RunningActions.step),
        Command(
            "next", ["nexti", "n", "ni"], "[N]", .running, "step over calls, interrupts and loops",
            details: """
                As `step`, but a CALL, INT, REP, LOOP or HLT is done as one: the guest runs until it comes back. A \
                breakpoint inside stops it there.
                """,
            examples: [.init("n", "over `int 0x10`, say")],
            completion: [.expression], repeatable: true, action: RunningActions.next),
        Command(
            "continue", ["c"], "[&]", .running, "let all vCPUs go",
            details: """
                They run until a breakpoint, until they can go no further, or until `stop`. With `&` at its end, this and \
                every other command that lets the guest go leaves the console free: the guest runs on while it is \
                looked at and edited.
                """,
            examples: [.init("c", "and wait"), .init("c &", "and go on typing")],
            repeatable: true, action: RunningActions.goOn),
        Command(
            "until", ["advance"], "ADDR", .running, "run to an address",
            details: "Stops there once, or earlier at a breakpoint.",
            examples: [.init("until 0x7c20", "to that linear address"), .init("until 0:7c20", "as SEG:OFF")],
            completion: [.expression], action: RunningActions.until),
        Command(
            "stop", ["interrupt"], "", .running, "stop a running guest",
            details: "Does nothing to one that stands still.", whileRunning: true,
            action: RunningActions.stop),
    ]
}

enum RunningActions {
    static func step(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call)
        try call.perform { () throws(DebuggerError) in try session.debugger.startStep(count: count) }
        return session.running("step", [session.debugger.selectedVCPU])
    }

    static func next(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call)
        try call.perform { () throws(DebuggerError) in try session.debugger.startNext(count: count) }
        return session.running("next", [session.debugger.selectedVCPU])
    }

    static func goOn(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        try call.perform { () throws(DebuggerError) in try session.debugger.startContinue() }
        return session.running("continue", session.debugger.target.vcpus.map(\.id))
    }

    static func until(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`until` needs an address") }
        let address = try session.location(call.rest, call)
        try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.startRun(to: address)
        }
        return session.running("until", session.debugger.target.vcpus.map(\.id))
    }

    static func stop(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard session.isRunning else { return .done(Message("The guest stands still already.")) }
        session.stopCommand()
        return session.running("stop", session.debugger.target.vcpus.map(\.id))
    }
}

extension Session {
    fileprivate func running(_ action: String, _ vcpus: [Int]) -> Outcome {
        .running(Running(action: action, vcpus: vcpus))
    }
}
