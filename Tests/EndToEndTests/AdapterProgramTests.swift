import Foundation
import Testing

/// `kvmscope dap` as an editor uses it: the program, by its standard input and output.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct AdapterProgramTests {
    /// An editor. Messages are read when one is waited for.
    private final class Editor {
        let process = Process(of: Built.kvmscope, ["dap"])
        private let requests = Pipe()
        private let replies = Pipe()
        private var rest = Data()
        private var sequence = 0
        private var events: [[String: Any]] = []

        init() throws {
            process.standardInput = requests
            process.standardOutput = replies
            process.standardError = FileHandle.nullDevice
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }

        /// The next message; `Content-Length: N`, an empty line and N bytes of JSON.
        private func message() throws -> [String: Any] {
            let separator = Data("\r\n\r\n".utf8)
            while true {
                if let end = rest.range(of: separator) {
                    let header = String(decoding: rest[rest.startIndex..<end.lowerBound], as: UTF8.self)
                    let length = try #require(Int(header.dropFirst("Content-Length: ".count)), "\(header)")
                    if rest.distance(from: end.upperBound, to: rest.endIndex) >= length {
                        let body = rest[end.upperBound..<end.upperBound + length]
                        rest = Data(rest[(end.upperBound + length)...])
                        return try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any])
                    }
                }
                var ready = pollfd(
                    fd: replies.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
                try #require(poll(&ready, 1, 60_000) == 1, "nothing comes")
                let more = replies.fileHandleForReading.availableData
                try #require(!more.isEmpty, "the adapter has ended")
                rest += more
            }
        }

        /// - Returns: the request's number.
        @discardableResult
        func send(_ command: String, _ arguments: [String: Any] = [:]) throws -> Int {
            sequence += 1
            let body = try JSONSerialization.data(withJSONObject: [
                "seq": sequence, "type": "request", "command": command, "arguments": arguments,
            ])
            try requests.fileHandleForWriting.write(
                contentsOf: Data("Content-Length: \(body.count)\r\n\r\n".utf8) + body)
            return sequence
        }

        /// The body of the response to a request that has to succeed.
        @discardableResult
        func ask(_ command: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
            let number = try send(command, arguments)
            while true {
                let next = try message()
                guard next["type"] as? String == "response", next["request_seq"] as? Int == number else {
                    events.append(next)
                    continue
                }
                try #require(next["success"] as? Bool == true, "\(command): \(next)")
                return next["body"] as? [String: Any] ?? [:]
            }
        }

        /// The body of an event that came or comes.
        @discardableResult
        func event(_ name: String) throws -> [String: Any] {
            while true {
                if let place = events.firstIndex(where: { $0["event"] as? String == name }) {
                    return events.remove(at: place)["body"] as? [String: Any] ?? [:]
                }
                events.append(try message())
            }
        }

        /// Starts a guest, as far as `configurationDone`.
        func begin(_ request: String, _ arguments: [String: Any], _ configure: () throws -> Void = {}) throws
        {
            try ask("initialize", ["adapterID": "kvmscope", "linesStartAt1": true])
            try ask(request, arguments)
            try event("initialized")
            try configure()
            try ask("configurationDone")
        }

        func frames() throws -> [[String: Any]] {
            try #require(try ask("stackTrace", ["threadId": 1])["stackFrames"] as? [[String: Any]])
        }

        func leave() throws {
            try ask("disconnect")
            try event("terminated")
            process.wait(seconds: 30)
            #expect(process.terminationStatus == 0)
        }
    }

    @Test(.enabled(if: Host.has("clang"), "needs clang"))
    func aKernelByItsLines() throws {
        let folder = try TemporaryFolder()
        let path = try CKernel.build(in: folder)
        let line = try CKernel.line("task->ticks += ticks;")
        let editor = try Editor()
        try editor.begin("launch", ["program": path, "stopOnEntry": false]) {
            let set = try editor.ask(
                "setBreakpoints",
                ["source": ["path": CKernel.source.path], "breakpoints": [["line": line]]])
            let first = try #require((set["breakpoints"] as? [[String: Any]])?.first)
            #expect(first["verified"] as? Bool == true && first["line"] as? Int == line, "\(set)")
        }
        #expect(try editor.event("stopped")["reason"] as? String == "breakpoint")
        let frames = try editor.frames()
        #expect((frames[0]["name"] as? String)?.hasPrefix("account") == true, "\(frames)")
        #expect((frames[1]["name"] as? String)?.hasPrefix("schedule") == true, "\(frames)")
        #expect((frames[2]["name"] as? String)?.hasPrefix("kernel_main") == true, "\(frames)")
        #expect(frames[0]["line"] as? Int == line)
        #expect((frames[0]["source"] as? [String: Any])?["path"] as? String == CKernel.source.path)
        // By lines, and by instructions.
        try editor.ask("next", ["threadId": 1])
        try editor.event("stopped")
        #expect(try editor.frames()[0]["line"] as? Int == line + 1)
        let before = try editor.frames()[0]["instructionPointerReference"] as? String
        try editor.ask("stepIn", ["threadId": 1, "granularity": "instruction"])
        try editor.event("stopped")
        #expect(try editor.frames()[0]["instructionPointerReference"] as? String != before)
        try editor.ask("stepOut", ["threadId": 1])
        try editor.event("stopped")
        #expect((try editor.frames()[0]["name"] as? String)?.hasPrefix("schedule") == true)
        try editor.leave()
    }

    @Test func aGuestOfAnotherProgramGoesOn() throws {
        let guest = try TinyGuest()
        let editor = try Editor()
        try editor.begin("attach", ["pid": Int(guest.process.processIdentifier)])
        try editor.ask("pause", ["threadId": 1])
        try editor.event("stopped")
        let threads = try #require(try editor.ask("threads")["threads"] as? [[String: Any]])
        #expect(threads.count == 2)
        let place = try #require(try editor.frames()[0]["instructionPointerReference"] as? String)
        let memory = try editor.ask("readMemory", ["memoryReference": place, "count": 8])
        #expect(Data(base64Encoded: memory["data"] as? String ?? "")?.count == 8)
        try editor.leave()
        try guest.expectGoesOn()
    }

    @Test(.enabled(if: Host.has("qemu-system-x86_64"), "needs qemu-system-x86_64"))
    func aProgramThatItStarts() throws {
        let name = "adapter-\(UUID().uuidString)"
        let editor = try Editor()
        try editor.begin(
            "launch",
            [
                "vmm": [
                    "qemu-system-x86_64", "-accel", "kvm", "-display", "none", "-serial", "none",
                    "-parallel", "none", "-monitor", "none", "-m", "64", "-name", name,
                ]
            ])
        try editor.event("stopped")
        #expect(try editor.frames()[0]["instructionPointerReference"] as? String == "0xfffffff0")
        try editor.ask("stepIn", ["threadId": 1, "granularity": "instruction"])
        try editor.event("stopped")
        #expect(try editor.frames()[0]["instructionPointerReference"] as? String != "0xfffffff0")
        try editor.leave()
        let end = Date(timeIntervalSinceNow: 30)
        while try Processes.arguments().contains(where: { $0.contains(name) }) {
            try #require(Date() < end, "QEMU still runs")
            usleep(10_000)
        }
    }
}
