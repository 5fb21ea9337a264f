package import Commands
import DebugTarget
import Debugger

/// The Debug Adapter Protocol for one client: messages in, messages out. It knows no descriptors.
///
/// The guest is there from `launch` or `attach` on. Threads are vCPUs: thread N is vCPU N - 1.
package final class DebugAdapter {
    /// Makes the session that a `launch` or an `attach` with these arguments asks for.
    package typealias Starter = (_ arguments: JSONValue, _ attaches: Bool) throws(AdapterFailure) ->
        StartedSession

    /// A session and what it holds of the guest.
    package struct StartedSession {
        package var session: Session
        /// The guest ends with the session.
        package var ownsGuest: Bool
        package init(_ session: Session, ownsGuest: Bool) {
            self.session = session
            self.ownsGuest = ownsGuest
        }
    }

    private let starter: Starter
    private let send: ([UInt8]) -> Void
    private var decoder = MessageDecoder()
    private var sequence = 0
    /// What follows the response at hand.
    private var afterResponse: [() -> Void] = []

    package private(set) var session: Session?
    private(set) var ownsGuest = true
    /// The client is gone, or is to go.
    package private(set) var isOver = false
    var stopsOnEntry = true
    var isConfigured = false
    let breakpoints = AdapterBreakpoints()
    /// A step by source lines, under way.
    var lineStep: LineStep?
    /// How much of each console the client has seen.
    var consoleSeen: [ConsoleName: UInt64] = [:]
    /// Lines and columns count from 1.
    var linesStartAt1 = true

    package init(starter: @escaping Starter, send: @escaping ([UInt8]) -> Void) {
        self.starter = starter
        self.send = send
    }

    /// The body of a request's response.
    private func handle(_ command: String, _ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        switch command {
        case "initialize": initialize(arguments)
        case "launch": try begin(arguments, attaches: false)
        case "attach": try begin(arguments, attaches: true)
        case "configurationDone": try configurationDone()
        case "disconnect": disconnect(arguments)
        case "terminate": try terminate()
        case "restart": try restart()
        case "setBreakpoints": try setSourceBreakpoints(arguments)
        case "setFunctionBreakpoints": try setFunctionBreakpoints(arguments)
        case "setInstructionBreakpoints": try setInstructionBreakpoints(arguments)
        case "setDataBreakpoints": try setDataBreakpoints(arguments)
        case "dataBreakpointInfo": try dataBreakpointInfo(arguments)
        case "setExceptionBreakpoints": ["breakpoints": []]
        case "threads": try threads()
        case "stackTrace": try stackTrace(arguments)
        case "scopes": try scopes(arguments)
        case "variables": try variables(arguments)
        case "setVariable": try setVariable(arguments)
        case "evaluate": try evaluate(arguments)
        case "completions": try completions(arguments)
        case "continue": try goOn()
        case "next": try step(arguments, .over)
        case "stepIn": try step(arguments, .into)
        case "stepOut": try step(arguments, .out)
        case "pause": try pause()
        case "readMemory": try readMemory(arguments)
        case "writeMemory": try writeMemory(arguments)
        case "disassemble": try disassemble(arguments)
        default: throw AdapterFailure("`\(command)` is not a request that kvmscope knows")
        }
    }

    // MARK: messages

    package func take(_ bytes: some Sequence<UInt8>) {
        for event in decoder.feed(bytes) {
            switch event {
            case .message(let message): answer(message)
            case .broken(let words):
                say("kvmscope: \(words); the connection is closed\n", category: "stderr")
                leave(ends: false)
            }
            if isOver { return }
        }
    }

    private func answer(_ message: JSONValue) {
        // Responses are to requests of ours, and there are none.
        guard message["type"]?.text == "request", let command = message["command"]?.text else { return }
        var response: [String: JSONValue] = [
            "type": "response", "command": .string(command),
            "request_seq": message["seq"] ?? 0,
        ]
        do throws(AdapterFailure) {
            response["body"] = try handle(command, message["arguments"] ?? [:])
            response["success"] = true
        } catch {
            response["success"] = false
            response["message"] = .string(error.message)
            response["body"] = [
                "error": [
                    "id": 1,
                    "format": .string(error.message.replacing("{", with: "(").replacing("}", with: ")")),
                    "showUser": true,
                ]
            ]
        }
        post(response)
        let after = afterResponse
        afterResponse = []
        for step in after { step() }
    }

    private func post(_ message: [String: JSONValue]) {
        sequence += 1
        var message = message
        message["seq"] = .count(sequence)
        send(MessageDecoder.packet(.object(message)))
    }

    func event(_ name: String, _ body: JSONValue = [:]) {
        post(["type": "event", "event": .string(name), "body": body])
    }

    /// After the response to the request at hand.
    func then(_ step: @escaping () -> Void) { afterResponse.append(step) }

    /// Text for the client's user.
    func say(_ text: String, category: String = "console") {
        guard !text.isEmpty else { return }
        event("output", ["category": .string(category), "output": .string(text)])
    }

    // MARK: beginning and end

    private func initialize(_ arguments: JSONValue) -> JSONValue {
        linesStartAt1 = arguments["linesStartAt1"]?.truth ?? true
        return [
            "supportsConfigurationDoneRequest": true, "supportsFunctionBreakpoints": true,
            "supportsConditionalBreakpoints": true, "supportsEvaluateForHovers": true,
            "supportsSetVariable": true, "supportsSteppingGranularity": true,
            "supportsInstructionBreakpoints": true, "supportsDataBreakpoints": true,
            "supportsReadMemoryRequest": true, "supportsWriteMemoryRequest": true,
            "supportsDisassembleRequest": true, "supportsTerminateRequest": true,
            "supportTerminateDebuggee": true, "supportsRestartRequest": true,
            "supportsCompletionsRequest": true,
        ]
    }

    private func begin(_ arguments: JSONValue, attaches: Bool) throws(AdapterFailure) -> JSONValue {
        guard session == nil else { throw AdapterFailure("a guest is debugged already") }
        let started = try starter(arguments, attaches)
        session = started.session
        ownsGuest = started.ownsGuest
        // A guest that another program runs goes on, until it is asked to stop.
        stopsOnEntry = arguments["stopOnEntry"]?.truth ?? !attaches
        then { [weak self] in self?.event("initialized") }
        return [:]
    }

    private func configurationDone() throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        isConfigured = true
        if session.isRunning {
            if stopsOnEntry { session.interrupt() }
        } else if stopsOnEntry {
            then { [weak self] in self?.tellStop() }
        } else {
            _ = try goOn()
        }
        return [:]
    }

    /// The guest at its start again; one that runs is stopped for it.
    private func restart() throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        lineStep = nil
        _ = try attempt { () throws(DebuggerError) in try session.debugger.restart() }
        if stopsOnEntry {
            then { [weak self] in self?.tellStop() }
        } else {
            _ = try goOn()
        }
        return [:]
    }

    private func disconnect(_ arguments: JSONValue) -> JSONValue {
        let ends = arguments["terminateDebuggee"]?.truth ?? ownsGuest
        then { [weak self] in self?.leave(ends: ends) }
        return [:]
    }

    private func terminate() throws(AdapterFailure) -> JSONValue {
        _ = try guest()
        guard ownsGuest else {
            throw AdapterFailure(
                "another program runs the guest, and ends it; `disconnect` leaves it running")
        }
        then { [weak self] in self?.leave(ends: true) }
        return [:]
    }

    /// The client goes. A guest of another program goes on; one of ours ends with the session.
    package func leave(ends: Bool) {
        guard !isOver else { return }
        isOver = true
        if let session {
            breakpoints.removeAll(session.debugger)
            if !ownsGuest, !session.isRunning { try? session.debugger.startContinue() }
        }
        event("terminated")
    }

    // MARK: the guest

    /// The session.
    func guest() throws(AdapterFailure) -> Session {
        guard let session else {
            throw AdapterFailure("no guest is there yet: `launch` or `attach` comes first")
        }
        return session
    }

    /// The session of a guest that stands still.
    func stoppedGuest() throws(AdapterFailure) -> Session {
        let session = try guest()
        guard !session.isRunning else { throw AdapterFailure("the guest runs; `pause` stops it") }
        return session
    }

    func attempt<R>(_ body: () throws(DebuggerError) -> R) throws(AdapterFailure) -> R {
        do throws(DebuggerError) {
            return try body()
        } catch {
            throw AdapterFailure(error)
        }
    }

    /// The vCPU of a request's `threadId`; the selected one where it has none.
    func vcpu(_ arguments: JSONValue, _ session: Session) throws(AdapterFailure) -> Int {
        guard let thread = arguments["threadId"] else { return session.debugger.selectedVCPU }
        guard let number = thread.integer,
            session.debugger.target.vcpus.contains(where: { $0.id == number &- 1 })
        else { throw AdapterFailure("there is no thread \(thread.integer.map(String.init) ?? "of that id")") }
        return number &- 1
    }
}
