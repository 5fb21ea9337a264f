import DebugTarget
import Debugger
import Monitor
import X86

extension CommandTable {
    static let exitCommands: [Command] = [
        Command(
            "info exits", ["exits"], "[N]", .exits, "exits by reason, with times, and the last N of them",
            details: """
                I/O is counted by port and direction, MMIO by page, MSRs by index. `Rate/s` is per second that the \
                vCPUs ran; `Time` is what handling the exits took, the time that a stopped guest waits for you not \
                counted. Without N, the last ones are not listed; 1,000 of each vCPU are kept, single steps not among \
                them. Of a guest that another program runs, all exits come first, as `kvmscope top` has them: counted by \
                the host with no stop, from the first time that they are asked for or shown on the screen. Where the host does not permit that, the kernel's counters \
                (KVM_GET_STATS_FD) are shown, for which the guest is stopped for a moment the first time.
                """,
            examples: [.init("info exits", "the counts"), .init("info exits 20", "and the last twenty")],
            whileRunning: true, action: ExitActions.info),
        Command(
            "exits reset", [], "", .exits, "count exits from zero again",
            whileRunning: true, action: ExitActions.reset),
        Command(
            "info blackbox", ["blackbox"], "[N]", .exits, "the last steps and exits, and why a vCPU died",
            details: """
                Always on: the last 256 instructions that the debugger stepped, with registers, and the last 1,000 exits; N \
                of each are shown, or 10. After a triple fault it names the instruction that began it, each exception \
                with its reason, and the page walk where one failed. This is found by looking at registers and memory as \
                the processor would, after a free run as well.
                """,
            examples: [.init("info blackbox 20", "twenty of each")], completion: [.expression],
            action: ExitActions.blackBox),
        Command(
            "info lapic", ["lapic"], "", .exits, "show the selected vCPU's local APIC",
            details: "Needs the interrupt controllers in the kernel: `--irqchip kernel`.", whileRunning: true,
            action: ExitActions.localAPIC),
        Command(
            "info console", ["console"], "", .exits, "show what the guest wrote to its consoles",
            details: "Port 0xE9 and COM1; control characters show as `\\xNN`.", whileRunning: true,
            action: ExitActions.console),
    ]
}

enum ExitActions {
    static func info(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        var limit = 0
        if !call.rest.text.isEmpty { limit = min(try session.count(call), ExitRecorder.capacity) }
        let target = session.debugger.target
        let log = target.exits
        var output = ExitsOutput(
            log.statistics(), recent: limit > 0 ? log.recent(limit: limit) : [],
            internalError: session.internalErrorText())
        output.host = session.hostExitsOutput()
        // Of a guest that another program runs, most exits go by unseen. Its counters take a stop the first time: only
        // where the host does not tell.
        let isTold = output.host.map { $0.failure == nil } ?? false
        if !isTold, target is any SourceProviding, let target = target as? any StatisticsProviding {
            do {
                output.kernel = KernelExits(try target.kernelStatistics())
            } catch {
                output.kernel = KernelExits(failure: "\(error)")
            }
        }
        return .done(output)
    }

    static func blackBox(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let limit = try session.count(call, or: 10)
        let box = try call.perform { () throws(DebuggerError) in try session.debugger.blackBox(limit: limit) }
        let stop = session.debugger.stop
        var last: GeneralRegisters?
        // Only after a step that came to its end is what it changed known.
        if stop.vcpu == box.vcpu, stop.steps > 0, stop.reason.endsSteps {
            last = stop[box.vcpu]?.registers
        }
        return .done(BlackBoxOutput(box, last: last, internalError: session.internalErrorText()))
    }

    static func reset(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        session.debugger.target.exits.reset()
        session.hostExits?.reset()
        return .done(Message("Exits are counted from zero."))
    }

    static func localAPIC(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let state: LocalAPICState
        do {
            state = try session.debugger.localAPIC()
        } catch {
            var lifted = CommandError(error)
            lifted.line = call.line
            // Whether the vCPU has one in the kernel was said when its guest was made.
            lifted.remedy = "a local APIC in the kernel needs `--irqchip kernel`"
            throw lifted
        }
        return .done(LocalAPICOutput(vcpu: session.debugger.selectedVCPU, state))
    }

    static func console(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let target = session.debugger.target as? any ConsoleProviding else {
            throw call.error("\(session.debugger.target.name) does not show what its guest prints")
        }
        return .done(ConsolesOutput(target))
    }
}
