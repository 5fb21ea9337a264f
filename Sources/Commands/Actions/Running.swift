import DebugTarget
import Debugger

extension CommandTable {
    static let runningCommands: [Command] = [
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
            "stop", ["interrupt"], "", .running, "stop a running guest",
            details: "Does nothing to one that is stopped.", whileRunning: true,
            action: RunningActions.stop),
    ]
}

enum RunningActions {
    static func goOn(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        try call.perform { () throws(DebuggerError) in try session.debugger.startContinue() }
        return session.running("continue", session.debugger.target.vcpus.map(\.id))
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
