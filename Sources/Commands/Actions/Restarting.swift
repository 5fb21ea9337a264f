import DebugTarget
import Debugger
import Symbols
import X86

extension CommandTable {
    /// The beginning and the end of a guest of kvmscope's own.
    static let restartCommands: [Command] = [
        Command(
            "run", ["r"], "[stepping] [&]", .running, "start the guest from the start again, and resume it",
            details: """
                Every vCPU, device and all memory are put back, and the image is read anew: one that was built meanwhile is \
                what runs. It works at any time, after the guest's end, too. Breakpoints, watchpoints, symbols, displays and \
                the stops before are kept; a breakpoint that cannot be set in the guest as it is at its start is disabled, and \
                the next stop says so. With `stepping`, the boot processor alone is stepped until something stops it, \
                so that `info blackbox` has what led to a triple fault on hosts whose KVM forgets it. A guest that another \
                program runs is started again there.
                """,
            examples: [
                .init("run", "from the start"), .init("run stepping", "the same, every instruction kept"),
            ],
            completion: [.words(["stepping"])], whileRunning: true, action: RestartActions.run),
        Command(
            "starti", ["reset"], "", .running,
            "put the guest back to its start, and stop at its first instruction",
            details: "As `run`, and the guest stays stopped.",
            examples: [.init("starti", "to the first instruction")],
            whileRunning: true, action: RestartActions.startInstruction),
        Command(
            "start", [], "[&]", .running, "start the guest again, and run to `main`",
            details: """
                To the symbol `main`, `kmain`, `kernel_main` or `start_kernel`, the first of these that is known; without \
                any it stops at the first instruction, as `starti`.
                """,
            examples: [.init("start", "to main")], whileRunning: true, action: RestartActions.start),
        Command(
            "kill", [], "", .running, "end the guest, and keep the session",
            details: """
                Registers and memory stay as they are, to be looked at; `run` starts the guest again.
                """,
            examples: [.init("kill", "and look at what is left")], whileRunning: true,
            action: RestartActions.kill),
        Command(
            "set triple-fault", [], "stop|reset", .running,
            "whether a triple fault is an end, or resets the guest",
            details: """
                With `stop`, as at the start, a vCPU that shut down is dead until `run`. With `reset` the guest stops for it \
                all the same, and the next `continue` or `step` goes on from the start, as a PC's board does.
                """,
            examples: [.init("set triple-fault reset", "as a PC does")],
            completion: [.words(["stop", "reset"])], whileRunning: true, action: RestartActions.setTripleFault
        ),
        Command(
            "show triple-fault", [], "", .running, "show whether a triple fault resets the guest",
            whileRunning: true, action: RestartActions.showTripleFault),
    ]
}

enum RestartActions {
    /// What C kernels call their first function, in the order in which it is looked for.
    private static let mains = ["main", "kmain", "kernel_main", "start_kernel"]

    static func run(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        let debugger = session.debugger
        switch call.arguments.first?.text {
        case nil:
            try call.perform { () throws(DebuggerError) in try debugger.startRunAgain() }
            return session.running("run", debugger.target.vcpus.map(\.id))
        case "stepping":
            try call.perform { () throws(DebuggerError) in try debugger.startSteppingAgain() }
            return session.running("run", [debugger.selectedVCPU])
        case _:
            throw call.usageError(
                "`run` takes `stepping` or nothing: what is run was said when kvmscope was started; registers are "
                    + "shown by `regs`, as by Bochs' `r`",
                at: call.arguments.first)
        }
    }

    static func startInstruction(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let stop = try call.perform { () throws(DebuggerError) in try session.debugger.restart() }
        return .done(session.stopOutput(for: stop))
    }

    static func start(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let debugger = session.debugger
        let stop = try call.perform { () throws(DebuggerError) in try debugger.restart() }
        // Where the guest starts at its first function it is there.
        let places = mains.lazy.compactMap { debugger.symbols.address(of: $0) }
        guard let main = places.first, main != debugger.selected.pc else {
            return .done(session.stopOutput(for: stop))
        }
        try call.perform { () throws(DebuggerError) in
            try debugger.setBreakpoint(at: .linear(main), isTemporary: true)
            try debugger.startContinue()
        }
        return session.running("start", debugger.target.vcpus.map(\.id))
    }

    static func kill(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let stop = try call.perform { () throws(DebuggerError) in try session.debugger.kill() }
        return .done(session.stopOutput(for: stop))
    }

    static func setTripleFault(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        switch call.arguments.first?.text.lowercased() {
        case "stop": session.debugger.resetsAtTripleFault = false
        case "reset":
            guard session.debugger.isRestartable else {
                throw call.error(
                    "another program runs the guest, and decides what a triple fault does",
                    at: call.arguments.first)
            }
            session.debugger.resetsAtTripleFault = true
        default:
            throw call.usageError("`set triple-fault` takes `stop` or `reset`", at: call.arguments.first)
        }
        return try showTripleFault(session, call)
    }

    static func showTripleFault(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        .done(
            Message(
                session.debugger.resetsAtTripleFault
                    ? "A triple fault stops the guest, and the next `continue` goes on from the start."
                    : "A triple fault is the guest's end; `run` starts it again."))
    }
}
