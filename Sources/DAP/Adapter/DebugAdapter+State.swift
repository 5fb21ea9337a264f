import Commands
import DebugTarget
import Debugger
import Expressions
import Symbols
import X86

/// What a stop looks like: threads, frames, registers as groups of variables, and expressions.
extension DebugAdapter {
    /// A group of registers of one vCPU, in a reference: the vCPU's place times ``size``, and the group's number.
    private enum Group: Int, CaseIterable {
        case general = 1
        case segments, control, debug, flags
        /// One segment, with its cache: as many as there are names.
        case segment = 16

        static let size = 64

        var name: String {
            switch self {
            case .general: "General"
            case .segments: "Segments"
            case .control: "Control"
            case .debug: "Debug"
            case .flags: "Flags"
            case .segment: "Segment"
            }
        }
    }

    private static let segments = SegmentName.allCases

    func threads() throws(AdapterFailure) -> JSONValue {
        let debugger = try guest().debugger
        return [
            "threads": .array(
                debugger.target.vcpus.map { ["id": .count($0.id + 1), "name": .string("vCPU \($0.id)")] })
        ]
    }

    func stackTrace(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try stoppedGuest()
        let debugger = session.debugger
        let id = try vcpu(arguments, session)
        let first = max(0, arguments["startFrame"]?.integer ?? 0)
        var count = arguments["levels"]?.integer ?? 0
        if count <= 0 { count = 64 }
        let trace = try attempt { () throws(DebuggerError) in
            try debugger.backtrace(limit: min(first &+ count, 1024), vcpu: id)
        }
        let frames = trace.frames.enumerated().dropFirst(first).prefix(count).map {
            index, frame -> JSONValue in
            let symbol = debugger.symbols.place(at: frame.linear)?.description
            let place = hexDigits(UInt64(frame.selector), digits: 4) + ":" + hexDigits(frame.ip, digits: 4)
            var row: [String: JSONValue] = [
                "id": .count(id * 1024 + index + 1), "name": .string(symbol ?? place), "line": 0,
                "column": 0, "instructionPointerReference": .string(hex(frame.linear)),
            ]
            if let line = debugger.symbols.line(at: frame.linear) {
                row["line"] = .count(shown(line.line))
                row["source"] = ["name": .string(line.name), "path": .string(line.path)]
            }
            return .object(row)
        }
        return ["stackFrames": .array(frames), "totalFrames": .count(trace.frames.count)]
    }

    func scopes(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try stoppedGuest()
        guard let frame = arguments["frameId"]?.integer, frame > 0 else {
            throw AdapterFailure("a frame's number is wanted")
        }
        let id = (frame - 1) / 1024
        guard session.debugger.stop[id] != nil else { throw AdapterFailure("there is no frame \(frame)") }
        let groups: [Group] = [.general, .flags, .segments, .control, .debug]
        return [
            "scopes": .array(
                groups.map { group in
                    [
                        "name": .string(group.name), "presentationHint": "registers", "expensive": false,
                        "variablesReference": .count(id * Group.size + group.rawValue),
                    ]
                })
        ]
    }

    func variables(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let (id, group, segment) = try place(of: arguments["variablesReference"])
        let debugger = try stoppedGuest().debugger
        if group == .segments {
            return [
                "variables": .array(
                    try Self.segments.enumerated().map { index, name throws(AdapterFailure) in
                        var row = try variable("\(name)", id, debugger)
                        row["variablesReference"] = .count(id * Group.size + Group.segment.rawValue + index)
                        return .object(row)
                    })
            ]
        }
        let names: [String] =
            switch group {
            case .general: Self.general(debugger, id)
            case .control:
                [
                    "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apicbase", "gdtr.base", "gdtr.limit",
                    "idtr.base", "idtr.limit",
                ]
            case .debug: ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"]
            case .flags: RFlags.fields.map(\.name)
            case .segment, .segments: ["selector", "base", "limit", "attr"].map { "\(segment ?? .cs).\($0)" }
            }
        return [
            "variables": .array(
                try names.map { name throws(AdapterFailure) in
                    var row = try variable(name, id, debugger)
                    if group == .segment, let field = name.split(separator: ".").last {
                        row["name"] = .string(String(field))
                    }
                    return .object(row)
                })
        ]
    }

    /// As wide as the code that is executed.
    private static func general(_ debugger: Debugger, _ id: Int) -> [String] {
        guard debugger.stop[id]?.mode == .long64 else {
            return ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "eip", "eflags"]
        }
        return ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] + (8...15).map { "r\($0)" }
            + ["rip", "rflags"]
    }

    private func variable(
        _ name: String, _ id: Int, _ debugger: Debugger
    ) throws(AdapterFailure) -> [String: JSONValue] {
        let value = try attempt { () throws(DebuggerError) in try debugger.registerValue(name, vcpu: id) }
        let width = RegisterName(name)?.width ?? 64
        return [
            "name": .string(name), "evaluateName": .string("$\(name)"), "variablesReference": 0,
            "value": .string(width == 1 ? "\(value.bits)" : hexadecimal(value.bits, digits: (width + 3) / 4)),
            "type": .string("\(width) bit\(width == 1 ? "" : "s")"),
        ]
    }

    /// What a reference stands for.
    private func place(
        of reference: JSONValue?
    ) throws(AdapterFailure) -> (vcpu: Int, group: Group, segment: SegmentName?) {
        guard let number = reference?.integer, number > 0 else {
            throw AdapterFailure("a reference to variables is wanted")
        }
        let (id, rest) = number.quotientAndRemainder(dividingBy: Group.size)
        guard try guest().debugger.stop[id] != nil else { throw AdapterFailure("there is no vCPU \(id)") }
        let segment = rest - Group.segment.rawValue
        if Self.segments.indices.contains(segment) { return (id, .segment, Self.segments[segment]) }
        guard let group = Group(rawValue: rest) else {
            throw AdapterFailure("there are no variables \(number)")
        }
        return (id, group, nil)
    }

    func setVariable(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let (id, _, segment) = try place(of: arguments["variablesReference"])
        let debugger = try stoppedGuest().debugger
        guard var name = arguments["name"]?.text, let text = arguments["value"]?.text else {
            throw AdapterFailure("a name and a value are wanted")
        }
        if let segment { name = "\(segment).\(name)" }
        let register = name
        try attempt { () throws(DebuggerError) in
            try debugger.setRegister(register, to: try debugger.preview(text).bits, vcpu: id)
        }
        let shown = try variable(name, id, debugger)
        return ["value": shown["value"] ?? "", "variablesReference": 0]
    }

    // MARK: expressions and commands

    /// In the console a command of kvmscope's, elsewhere an expression that changes nothing.
    func evaluate(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        guard let text = arguments["expression"]?.text else { throw AdapterFailure("there is no expression") }
        guard arguments["context"]?.text == "repl" else {
            let value = try attempt { () throws(DebuggerError) in try session.debugger.preview(text) }
            let place = try? session.debugger.linear(value.place)
            return [
                "result": .string(
                    "\(hex(value.cut))  \(value.isSigned ? "\(value.signed)" : "\(value.bits)")"),
                "variablesReference": 0, "memoryReference": .string(hex(place ?? value.bits)),
            ]
        }
        let outcome: Outcome
        do throws(CommandError) {
            outcome = try session.execute(text, origin: .script)
        } catch {
            throw AdapterFailure(error.description)
        }
        switch outcome {
        case .done(let output):
            // A block, or a command of the user's: what it shows is said beside the answer.
            advance()
            return ["result": .string(self.text(output)), "variablesReference": 0]
        case .quit: throw AdapterFailure("the client ends the session, by `disconnect`")
        case .running(let running):
            if running.action != "stop" {
                then { [weak self] in
                    self?.event("continued", ["threadId": 1, "allThreadsContinued": true])
                }
            }
            return ["result": .string(self.text(running)), "variablesReference": 0]
        }
    }

    func completions(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        guard let text = arguments["text"]?.text else { throw AdapterFailure("there is no text") }
        // Columns count UTF-16 units, from 1.
        let column = max(0, (arguments["column"]?.integer ?? 1) &- 1)
        let before = String(decoding: Array(text.utf16.prefix(column)), as: UTF16.self)
        let found = session.complete(text, cursor: before.utf8.count)
        let start = String(decoding: Array(text.utf8.prefix(found.start)), as: UTF8.self).utf16.count
        return [
            "targets": .array(
                found.candidates.prefix(200).map { candidate in
                    [
                        "label": .string(candidate.text), "detail": .string(candidate.help),
                        "start": .count(start), "length": .count(max(0, before.utf16.count - start)),
                    ]
                })
        ]
    }
}
