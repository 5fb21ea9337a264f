import DebugTarget
import Debugger

extension CommandTable {
    /// About a guest that another program runs.
    static let guestCommands: [Command] = [
        Command(
            "detach", [], "", .other, "leave the guest running without kvmscope, everything put back",
            details: """
                For a guest of `kvmscope attach` or `kvmscope launch`. Breakpoints, guest debug and the changed fields of \
                kvm_run are taken away and no thread is traced any more; the VMM does not notice. The session goes on with \
                no guest. `quit` does the same to a guest that was attached to, and ends one that was launched.
                """,
            examples: [.init("detach", "and the guest runs on")], whileRunning: true,
            action: GuestActions.detach),
        Command(
            "info host", [], "", .other, "what this host's KVM honours of what debuggers use",
            details: """
                Tried once with a tiny VM of its own, in each mode and at CPL 3: the capabilities say what a call takes, this                 says what then happens. How breakpoints and watchpoints are done is chosen by it. The columns are real,                 virtual-8086, protected and 64-bit mode; `prot 3`, `long 3` and `comp 3` are code at CPL 3, the last of them                 in compatibility mode.
                """,
            examples: [.init("info host", "which mechanisms work where")], whileRunning: true,
            action: GuestActions.host),
        Command(
            "info sources", [], "", .other,
            "where registers, memory and counters come from, and how old they are",
            details: """
                A better source that is closed here is listed with the reason. `checked`: it was compared with another \
                source that cannot be wrong in the same way.
                """,
            examples: [.init("info sources", "all kinds of values")], whileRunning: true,
            action: GuestActions.sources),
        Command(
            "info stats", ["stats"], "[WORD]", .exits, "the kernel's counters of the VM and of each vCPU",
            details: """
                From KVM_GET_STATS_FD: read without stopping the guest. With WORD, only those whose name has it; without, \
                those that are not 0.
                """,
            examples: [.init("info stats", "what is not 0"), .init("info stats halt", "what is about HLT")],
            whileRunning: true, action: GuestActions.statistics),
    ]
}

enum GuestActions {
    static func detach(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let target = session.debugger.target.name
        let detachment = try call.perform { () throws(DebuggerError) in try session.debugger.detach() }
        return .done(DetachOutput(target: target, detachment))
    }

    static func host(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(HostOutput(session.debugger.target.debugFacilities))
    }

    static func sources(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let target = session.debugger.target as? any SourceProviding else {
            return .done(
                Message("The guest is kvmscope's own: every value is read from it directly, as it is now."))
        }
        return .done(SourcesOutput(target.valueSources, standstills: session.debugger.standstills))
    }

    static func statistics(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        guard let target = session.debugger.target as? any StatisticsProviding else {
            throw call.error(
                "\(session.debugger.target.name) does not give the kernel's counters",
                remedy: "`info exits` has those of the exits that kvmscope handles")
        }
        do {
            return .done(
                StatisticsOutput(try target.kernelStatistics(), matching: call.arguments.first?.text))
        } catch {
            throw call.error("the kernel's counters cannot be read: \(error)")
        }
    }
}
