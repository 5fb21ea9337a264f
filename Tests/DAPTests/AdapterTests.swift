import Commands
import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

@testable import DAP

/// A client in the same thread: requests in, messages out.
private final class Client {
    private final class Sent { var bytes: [UInt8] = [] }

    let adapter: DebugAdapter
    private let sent = Sent()
    private var decoder = MessageDecoder()
    private var sequence = 0
    private(set) var events: [JSONValue] = []
    var session: Session? { adapter.session }

    /// - Parameter code: of a guest without KVM, at 0000:7C00.
    init(_ code: [UInt8] = [0x90, 0x90, 0x40, 0xEB, 0xFB], vcpus: Int = 1, ownsGuest: Bool = true) {
        let sent = sent
        adapter = DebugAdapter(
            starter: { arguments, attaches throws(AdapterFailure) in
                if arguments["fails"] != nil { throw AdapterFailure("no such guest") }
                do {
                    let debugger = try Debugger(target: FakeTarget(vcpus: vcpus))
                    try debugger.writeMemory(.physical(0x7C00), code)
                    if attaches { try debugger.startContinue() }
                    return DebugAdapter.StartedSession(Session(debugger: debugger), ownsGuest: ownsGuest)
                } catch {
                    throw AdapterFailure("\(error)")
                }
            }, send: { sent.bytes += $0 })
    }

    /// The messages since; events are kept, and a response is given back.
    private func take() -> JSONValue? {
        var response: JSONValue?
        for case .message(let message) in decoder.feed(sent.bytes) {
            if message["type"]?.text == "event" { events.append(message) } else { response = message }
        }
        sent.bytes = []
        return response
    }

    /// The body of a request's response, which has to succeed.
    @discardableResult
    func ask(_ command: String, _ arguments: JSONValue = [:]) throws -> JSONValue {
        let response = try send(command, arguments)
        #expect(response["success"]?.truth == true, "\(command): \(response["message"]?.text ?? "")")
        return response["body"] ?? [:]
    }

    /// The message of a request that has to fail.
    func failure(_ command: String, _ arguments: JSONValue = [:]) throws -> String {
        let response = try send(command, arguments)
        #expect(response["success"]?.truth == false, "\(command) did not fail")
        #expect(response["body"]?["error"]?["format"]?.text != nil)
        return response["message"]?.text ?? ""
    }

    private func send(_ command: String, _ arguments: JSONValue) throws -> JSONValue {
        sequence += 1
        adapter.take(
            MessageDecoder.packet([
                "seq": .count(sequence), "type": "request", "command": .string(command),
                "arguments": arguments,
            ]))
        let response = try #require(take())
        #expect(response["request_seq"]?.integer == sequence && response["command"]?.text == command)
        return response
    }

    /// Does a request that resumes the guest; the body of its stopped event.
    @discardableResult
    func run(_ command: String, _ arguments: JSONValue = ["threadId": 1]) throws -> JSONValue {
        events = []
        try ask(command, arguments)
        try waitForStop()
        return try #require(last("stopped"))
    }

    func waitForStop() throws {
        let end = ContinuousClock.now + .seconds(60)
        while session?.isRunning ?? false {
            adapter.collect()
            try #require(ContinuousClock.now < end, "the guest does not stop")
        }
        _ = take()
    }

    func last(_ event: String) -> JSONValue? { events.last { $0["event"]?.text == event }?["body"] }

    func launch() throws {
        try ask("initialize", ["adapterID": "kvmscope"])
        try ask("launch")
        #expect(last("initialized") != nil)
        try ask("configurationDone")
        #expect(last("stopped")?["reason"]?.text == "entry")
    }
}

@Suite struct AdapterTests {
    @Test func aSessionBeginsAndEnds() throws {
        let client = Client()
        let abilities = try client.ask("initialize", ["adapterID": "x"])
        for name in [
            "supportsInstructionBreakpoints", "supportsSteppingGranularity", "supportsReadMemoryRequest",
            "supportsDisassembleRequest", "supportsDataBreakpoints", "supportsSetVariable",
        ] {
            #expect(abilities[name]?.truth == true)
        }
        #expect(try client.failure("threads").contains("`launch` or `attach` comes first"))
        #expect(try client.failure("launch", ["fails": true]) == "no such guest")
        try client.ask("launch")
        #expect(try client.failure("launch").contains("already"))
        try client.ask("configurationDone")
        #expect(client.last("stopped")?["threadId"]?.integer == 1)
        #expect(try client.failure("nonsense").contains("`nonsense`"))
        try client.ask("disconnect")
        #expect(client.last("terminated") != nil && client.adapter.isOver)
    }

    @Test func stepsAndBreakpoints() throws {
        let client = Client()
        try client.launch()
        #expect(
            try client.run("stepIn", ["threadId": 1, "granularity": "instruction"])["reason"]?.text
                == "step")
        let set = try client.ask(
            "setInstructionBreakpoints",
            [
                "breakpoints": [
                    ["instructionReference": "0x7c00", "offset": 3], ["instructionReference": "x"],
                ]
            ])
        let rows = try #require(set["breakpoints"]?.list)
        #expect(rows[0]["verified"]?.truth == true && rows[0]["instructionReference"]?.text == "0x7c03")
        #expect(rows[1]["verified"]?.truth == false && rows[1]["message"]?.text != nil)
        let stop = try client.run("continue")
        #expect(stop["reason"]?.text == "instruction breakpoint")
        #expect(stop["hitBreakpointIds"]?.list == [rows[0]["id"] ?? .null])
        // Another condition makes another one; the same request again leaves it as it is.
        let wish: JSONValue = [
            "breakpoints": [["instructionReference": "0x7c03", "condition": "$ax == 5"]]
        ]
        let first = try client.ask("setInstructionBreakpoints", wish)
        #expect(try client.ask("setInstructionBreakpoints", wish) == first)
        try client.run("continue")
        #expect(client.session?.debugger.selected.registers.rax == 5)
        #expect(client.session?.debugger.breakpoints.map(\.origin) == ["dap"])
        try client.ask("setInstructionBreakpoints", ["breakpoints": []])
        #expect(client.session?.debugger.breakpoints.isEmpty == true)
        // By an expression, and one that is none.
        let functions = try client.ask(
            "setFunctionBreakpoints", ["breakpoints": [["name": "0x7c02"], ["name": "nowhere"]]])
        #expect(functions["breakpoints"]?.list?.map { $0["verified"]?.truth } == [true, false])
        #expect(try client.run("continue")["reason"]?.text == "function breakpoint")
    }

    @Test func aPause() throws {
        let client = Client()
        try client.launch()
        try client.ask("continue", ["threadId": 1])
        #expect(try client.failure("stackTrace", ["threadId": 1]).contains("`pause` stops it"))
        try client.ask("pause", ["threadId": 1])
        try client.waitForStop()
        #expect(client.last("stopped")?["reason"]?.text == "pause")
    }

    @Test func dataBreakpoints() throws {
        // mov ax, 0x1234; mov [0x5000], ax; nop; jmp -9
        let client = Client([0xB8, 0x34, 0x12, 0xA3, 0x00, 0x50, 0x90, 0xEB, 0xF7])
        try client.launch()
        let info = try client.ask("dataBreakpointInfo", ["name": "0x5000", "bytes": 2])
        #expect(info["dataId"]?.text == "0x5000/2")
        let set = try client.ask(
            "setDataBreakpoints",
            ["breakpoints": [["dataId": "0x5000/2", "accessType": "write"], ["dataId": "x"]]])
        #expect(set["breakpoints"]?.list?.map { $0["verified"]?.truth } == [true, false])
        #expect(try client.run("continue")["reason"]?.text == "data breakpoint")
        #expect(try client.failure("dataBreakpointInfo", ["name": "nowhere"]).contains("nowhere"))
    }

    @Test func registersAreVariables() throws {
        let client = Client(vcpus: 2)
        try client.launch()
        #expect(try client.ask("threads")["threads"]?.list?.count == 2)
        let frames = try client.ask("stackTrace", ["threadId": 2])
        let frame = try #require(frames["stackFrames"]?.list?.first)
        #expect(frame["instructionPointerReference"]?.text == "0x7c00")
        let scopes = try #require(
            try client.ask("scopes", ["frameId": frame["id"] ?? 0])["scopes"]?.list)
        #expect(
            scopes.compactMap { $0["name"]?.text } == [
                "General", "Flags", "Segments", "Control", "Debug",
            ])
        for scope in scopes {
            let variables = try client.ask(
                "variables", ["variablesReference": scope["variablesReference"] ?? 0])
            #expect(variables["variables"]?.list?.isEmpty == false)
        }
        let general = scopes[0]["variablesReference"] ?? 0
        let set = try client.ask(
            "setVariable", ["variablesReference": general, "name": "eax", "value": "6 * 7"])
        #expect(set["value"]?.text == "0x0000002a")
        #expect(client.session?.debugger.stop[1]?.registers.rax == 42)
        #expect(client.session?.debugger.stop[0]?.registers.rax != 42)
        // A segment has its cache.
        let segments = try client.ask(
            "variables", ["variablesReference": scopes[2]["variablesReference"] ?? 0])
        let cs = try #require(segments["variables"]?.list?.first { $0["name"]?.text == "cs" })
        let cache = try client.ask("variables", ["variablesReference": cs["variablesReference"] ?? 0])
        #expect(
            cache["variables"]?.list?.compactMap { $0["name"]?.text } == [
                "selector", "base", "limit", "attr",
            ])
        try client.ask(
            "setVariable",
            ["variablesReference": cs["variablesReference"] ?? 0, "name": "base", "value": "0x100"])
        #expect(client.session?.debugger.stop[1]?.special.cs.base == 0x100)
        for (command, arguments) in [
            ("variables", ["variablesReference": 0]), ("variables", ["variablesReference": 99_999]),
            ("scopes", ["frameId": 0]), ("scopes", ["frameId": 999_999]), ("stackTrace", ["threadId": 7]),
            ("setVariable", ["variablesReference": general, "name": "nonsense", "value": "1"]),
            ("setVariable", ["variablesReference": general, "name": "eax", "value": "1 +"]),
            ("setVariable", ["variablesReference": general, "name": "eax", "value": "0x100000000"]),
        ] as [(String, JSONValue)] {
            #expect(try !client.failure(command, arguments).isEmpty)
        }
    }

    @Test func memoryAndCode() throws {
        let client = Client()
        try client.launch()
        // 90 90 40 EB.
        let read = try client.ask("readMemory", ["memoryReference": "0x7c00", "count": 4])
        #expect(read["data"]?.text == "kJBA6w==" && read["address"]?.text == "0x7c00")
        let end = try client.ask("readMemory", ["memoryReference": "0xffffe", "count": 8])
        #expect(end["unreadableBytes"]?.integer == 6)
        #expect(
            try client.ask("writeMemory", ["memoryReference": "0x7c00", "offset": 1, "data": "QA=="])[
                "bytesWritten"]?
                .integer == 1)
        #expect(
            try client.session?.debugger.readMemory(.linear(0x7C00), count: 2).bytes == [0x90, 0x40])
        let code = try client.ask(
            "disassemble",
            ["memoryReference": "0x7c02", "instructionOffset": -2, "instructionCount": 5])
        let rows = try #require(code["instructions"]?.list)
        #expect(rows.count == 5)
        #expect(rows[2]["address"]?.text == "0x7c02" && rows[2]["instructionBytes"]?.text == "40")
        #expect(rows[0]["address"]?.text == "0x7c00")
        for (command, arguments) in [
            ("readMemory", ["memoryReference": "x", "count": 4]),
            ("readMemory", ["memoryReference": "0x0"]),
            ("readMemory", ["memoryReference": "0x0", "count": -1]),
            ("readMemory", ["memoryReference": "0x0", "count": 1_000_000_000]),
            ("writeMemory", ["memoryReference": "0x0", "data": "%"]),
            ("writeMemory", ["memoryReference": "0x200000", "data": "QA=="]),
            ("disassemble", ["memoryReference": "0x0", "instructionCount": 100_000]),
            (
                "disassemble",
                ["memoryReference": "0x0", "instructionCount": 1, "instructionOffset": 100_000]
            ),
        ] as [(String, JSONValue)] {
            #expect(try !client.failure(command, arguments).isEmpty)
        }
    }

    @Test func commandsAndExpressions() throws {
        let client = Client()
        try client.launch()
        #expect(
            try client.ask("evaluate", ["expression": "6 * 7", "context": "hover"])["result"]?.text?
                .contains("42") == true)
        #expect(
            try client.failure("evaluate", ["expression": "$eax = 1", "context": "watch"]).contains(
                "sets"))
        let output = try client.ask("evaluate", ["expression": "info breakpoints", "context": "repl"])
        #expect(output["result"]?.text?.isEmpty == false)
        #expect(
            try client.failure("evaluate", ["expression": "nonsense", "context": "repl"]).contains(
                "nonsense"))
        #expect(
            try client.failure("evaluate", ["expression": "quit", "context": "repl"]).contains(
                "disconnect"))
        // A command that lets the guest go.
        let stop = try client.run("evaluate", ["expression": "step 2", "context": "repl"])
        #expect(stop["reason"]?.text == "step")
        #expect(client.last("continued") != nil)
        let found = try client.ask("completions", ["text": "info bre", "column": 9])
        #expect(found["targets"]?.list?.contains { $0["label"]?.text == "breakpoints" } == true)
    }

    /// A guest of another program goes on when the client goes, and is not ended.
    @Test func aForeignGuest() throws {
        let client = Client(ownsGuest: false)
        try client.ask("initialize")
        try client.ask("attach", ["guest": "x"])
        try client.ask("configurationDone")
        #expect(client.session?.isRunning == true)
        try client.ask(
            "setInstructionBreakpoints", ["breakpoints": [["instructionReference": "0x7c02"]]])
        try client.waitForStop()
        #expect(client.last("stopped")?["reason"]?.text == "instruction breakpoint")
        #expect(try client.failure("terminate").contains("another program"))
        #expect(try client.failure("restart").contains("another program"))
        try client.ask("disconnect")
        #expect(client.session?.isRunning == true && client.adapter.isOver)
        #expect(client.session?.debugger.breakpoints.isEmpty == true)
        client.session?.interrupt()
        while client.session?.isRunning == true {
            _ = try client.session?.passStop(timeout: .seconds(1))
        }
    }

    @Test func whatIsNoMessageEndsIt() throws {
        let client = Client()
        try client.launch()
        client.adapter.take(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        #expect(client.adapter.isOver)
    }
}
