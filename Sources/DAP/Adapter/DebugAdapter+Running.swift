import Commands
import DebugTarget
import Debugger
import Symbols

/// What a step goes over, into, or out of.
enum StepKind { case over, into, out }

/// A step by source lines: instructions are stepped until another line begins.
struct LineStep {
    var kind: StepKind
    var vcpu: Int
    var path: String
    var line: Int
    /// Where the last of its instructions began.
    var pc: UInt64
    /// Steps that it still may take.
    var left = 100_000
}

/// Resuming, and stops.
extension DebugAdapter {
    private static let client = "dap"

    func goOn() throws(AdapterFailure) -> JSONValue {
        let session = try stoppedGuest()
        lineStep = nil
        try attempt { () throws(DebuggerError) in
            try session.resume(for: Self.client) { () throws(DebuggerError) in
                try session.debugger.startContinue()
            }
        }
        return ["allThreadsContinued": true]
    }

    func step(_ arguments: JSONValue, _ kind: StepKind) throws(AdapterFailure) -> JSONValue {
        let session = try stoppedGuest()
        let id = try vcpu(arguments, session)
        lineStep = nil
        let isByLine = (arguments["granularity"]?.text ?? "statement") != "instruction"
        try attempt { () throws(DebuggerError) in try session.debugger.select(vcpu: id) }
        if isByLine, kind != .out, let line = session.debugger.sourceLine(vcpu: id) {
            lineStep = LineStep(
                kind: kind, vcpu: id, path: line.path, line: line.line, pc: session.debugger.selected.pc)
        }
        try startStep(session, kind)
        return [:]
    }

    private func startStep(_ session: Session, _ kind: StepKind) throws(AdapterFailure) {
        try attempt { () throws(DebuggerError) in
            try session.resume(for: Self.client) { () throws(DebuggerError) in
                switch kind {
                case .over: try session.debugger.startNext()
                case .into: try session.debugger.startStep()
                case .out: try session.debugger.startFinish()
                }
            }
        }
    }

    func pause() throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        lineStep = nil
        if session.isRunning { session.interrupt() }
        return [:]
    }

    // MARK: stops

    /// Collects the guest's stop, if it has come. To be called when its descriptor polls readable, and now and then.
    package func collect() {
        guard let session, session.isRunning else { return }
        do {
            guard try session.passStop(timeout: .zero) else { return tellConsoles() }
        } catch {
            say("kvmscope: \(error.description)\n", category: "stderr")
        }
        if goesOnStepping(session) { return }
        if isConfigured { tellStop() }
        advance()
    }

    /// What waits to be done: the commands of a breakpoint that a person has set, and what a command has left.
    func advance() {
        while let session, let next = session.advance() {
            switch next.result {
            case .success(.done(let output)): say(text(output))
            case .success: break
            case .failure(let error): say(error.description + "\n", category: "stderr")
            }
        }
    }

    /// The next instruction of a step by lines; false where the step is over.
    private func goesOnStepping(_ session: Session) -> Bool {
        guard var step = lineStep else { return false }
        lineStep = nil
        guard case .step = session.debugger.stop.reason, step.left > 0 else { return false }
        let here = session.debugger.sourceLine(vcpu: step.vcpu)
        // Code of no line belongs to the line before it; into another file is another line.
        let isOver =
            here.map { line in
                (line.path, line.line) != (step.path, step.line)
                    || isStart(of: line, session) && session.debugger.selected.pc <= step.pc
            } ?? false
        guard !isOver else { return false }
        step.left -= 1
        step.pc = session.debugger.selected.pc
        do throws(AdapterFailure) {
            try startStep(session, step.kind == .into && here == nil ? .over : step.kind)
        } catch {
            return false
        }
        lineStep = step
        return true
    }

    /// A loop that comes back to the first instruction of its line has begun it again. A line of several rows has a start
    /// in each, which is come to from before.
    private func isStart(of line: SourceLine, _ session: Session) -> Bool {
        session.debugger.selected.pc == line.start
    }

    /// The guest stands still: why, and where.
    func tellStop() {
        guard let session else { return }
        tellConsoles()
        let stop = session.debugger.stop
        if case .ended = stop.reason {
            say(session.sentence(about: stop) + "\n", category: "important")
            return event("terminated")
        }
        var body: [String: JSONValue] = [
            "reason": .string(reason(stop)), "description": .string(session.sentence(about: stop)),
            "threadId": .count(stop.vcpu + 1), "allThreadsStopped": true,
        ]
        let hits = breakpoints.ids(of: stop)
        if !hits.isEmpty { body["hitBreakpointIds"] = .array(hits.map(JSONValue.count)) }
        event("stopped", .object(body))
    }

    private func reason(_ stop: Stop) -> String {
        switch stop.reason {
        case .created: "entry"
        case .step, .reached: "step"
        case .interrupted: "pause"
        case .breakpoint(let numbers): breakpoints.kind(of: numbers)?.reason ?? "breakpoint"
        case .watchpoint: "data breakpoint"
        case .tripleFault, .internalError, .failEntry, .failed, .noProgress, .stepLost: "exception"
        default: "pause"
        }
    }

    /// What the guest has printed since.
    func tellConsoles() {
        guard let target = session?.debugger.target as? any ConsoleProviding else { return }
        for name in target.consoles {
            guard let output = target.consoleOutput(name) else { continue }
            let seen = consoleSeen[name] ?? 0
            consoleSeen[name] = output.total
            guard output.total > seen else { continue }
            let new = output.bytes.suffix(Int(min(output.total - seen, UInt64(output.bytes.count))))
            say(String(decoding: new, as: UTF8.self), category: "stdout")
        }
    }

    /// A command's output as lines.
    func text(_ output: any CommandOutput) -> String {
        output.plainText(width: 100)
    }
}
