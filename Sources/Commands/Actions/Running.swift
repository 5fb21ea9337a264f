import DebugTarget
import Debugger

extension CommandTable {
    static let runningCommands: [Command] = [
        Command(
            "continue", ["c"], "[N] [&]", .running, "run all vCPUs",
            details: """
                They run until a breakpoint, until they can go no further, or until `stop`. With `&` at its end, this and \
                every other command that resumes the guest leaves the console free: the guest runs on while it is \
                looked at and edited. With N, as in GDB, the breakpoint that the guest is stopped at lets N - 1 hits \
                pass and stops it at the Nth.
                """,
            examples: [.init("c", "and wait"), .init("c &", "and go on typing")],
            completion: [.expression], repeatable: true, action: RunningActions.goOn),
        Command(
            "stop", ["interrupt"], "", .running, "stop a running guest",
            details: "Does nothing to one that is stopped.", whileRunning: true,
            action: RunningActions.stop),
    ]
}

enum RunningActions {
    static func goOn(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        if !call.rest.text.isEmpty { try passOver(session, call) }
        try call.perform { () throws(DebuggerError) in try session.debugger.startContinue() }
        return session.running("continue", session.debugger.target.vcpus.map(\.id))
    }

    /// GDB's `continue N`: an ignore count for the breakpoint that the guest is stopped at.
    private static func passOver(_ session: Session, _ call: Invocation) throws(CommandError) {
        let count = try session.count(call)
        guard case .breakpoint(let numbers) = session.debugger.stop.reason, let number = numbers.last,
            (try? session.debugger.breakpoint(number)) != nil
        else {
            throw call.error(
                "`continue N` counts hits of the breakpoint that the guest is stopped at, and it is at none",
                at: call.rest, remedy: "`ignore BREAKPOINT COUNT` names one")
        }
        try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.setBreakpoint(number, ignore: count - 1)
        }
    }

    static func stop(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard session.isRunning else { return .done(Message("The guest is stopped already.")) }
        session.stopCommand()
        return session.running("stop", session.debugger.target.vcpus.map(\.id))
    }
}

extension Session {
    func running(_ action: String, _ vcpus: [Int]) -> Outcome {
        .running(Running(action: action, vcpus: vcpus))
    }
}
