import Debugger
import Foundation
import Testing

@testable import Commands

/// The schema of the JSON stream: generated from what the commands yield, and kept beside the manual.
@Suite struct SchemaTests {
    static let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/kvmscope/kvmscope.docc/kvmscope.schema.json")

    /// Results by the name of the command: of the examples of the table, as far as they need no file, and of lines that
    /// stand for the others.
    private static func results() throws -> [String: Shape] {
        var shapes: [String: Shape] = [:]
        let more = [
            "step 3", "next", "regs", "regs rax", "sregs", "creg", "dreg", "fpu", "xmm", "u/2",
            "print-stack 2",
            "x/4xb 0x7c00", "xp/2xw 0", "print 1 + 1", "break 0x7c06", "info breakpoints", "info exits 5",
            "vcpu list",
            "vcpu info", "info console", "show convenience", "history", "set $n = 1", "set $rax = 1", "bt",
            "info line",
            "symbols", "info symbol 0x7c00", "display/x $ax", "info display", "disassemble", "telescope",
            "info events",
            "info mp", "info cpuid", "info msr efer", "page 0x7c00", "info gdt", "info idt", "info ivt",
            "watch 0x500",
            "continue", "echo a", "show user", "show logging",
        ]
        // What stands for the host's time, or its programs, has nothing to say here.
        let examples = CommandTable.standard.commands.flatMap(\.examples).map(\.line).filter { line in
            ![
                "shell", "!", "pipe", "source", "writemem", "loadmem", "symbols ", "save", "set logging",
                "dir", "type",
            ]
            .contains { line.hasPrefix($0) }
        }
        for line in more + examples {
            let guest = FakeGuest([0x90, 0x90, 0xEB, 0xFC], vcpus: 2)
            let driver = Driver(guest, try Debugger(target: guest))
            _ = try? driver.output("print 1")
            _ = try? driver.output("break 0x7c80")
            driver.session.cancelRequested = { false }
            guard let name = driver.session.command(of: line)?.name else { continue }
            let output: any CommandOutput
            do {
                switch try driver.session.execute(line, origin: .script) {
                case .done(let result): output = result
                case .running:
                    driver.session.interrupt()
                    output = try driver.session.collectStop(timeout: nil) ?? Silence()
                case .quit: continue
                }
            } catch {
                // An example may need another guest.
                continue
            }
            if output is Queued { continue }
            let record = JSONRecord.line(command: line, result: output)
            let object = try JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any]
            let shape = Shape(try #require(object?["result"]))
            shapes[name] = shapes[name].map { $0.merged(shape) } ?? shape
        }
        return shapes
    }

    private static func object(_ properties: [String: Any], required: [String]) -> [String: Any] {
        ["type": "object", "properties": properties, "required": required]
    }

    static func schema() throws -> [String: Any] {
        let text: [String: Any] = ["type": "string"]
        let id: [String: Any] = ["anyOf": [["type": "integer"], text]]
        let results = try results()
        return [
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A line of what `kvmscope --json` writes",
            "description":
                "Written by: KVMSCOPE_RECORD=1 swift test --filter SchemaTests. Objects may have more keys than are named here. $defs/results has the results of commands, by name, as far as a guest without KVM yields them.",
            "anyOf": ["header", "record", "event"].map { ["$ref": "#/$defs/\($0)"] },
            "$defs": [
                "header": object(
                    [
                        "kind": ["const": "header"], "format": ["const": JSONStream.format], "program": text,
                        "version": text,
                    ], required: ["kind", "format", "program", "version"]),
                "record": object(
                    [
                        "command": text, "id": id, "ok": ["type": "boolean"], "result": ["type": "object"],
                        "error": ["$ref": "#/$defs/error"],
                    ], required: ["command", "ok"]),
                "event": object(
                    [
                        "kind": ["const": "event"], "event": text, "command": text, "ok": ["type": "boolean"],
                        "result": ["type": "object"], "error": ["$ref": "#/$defs/error"], "message": text,
                    ], required: ["kind", "event"]),
                "error": object(
                    [
                        "message": text, "column": ["type": "integer"], "suggestion": text, "remedy": text,
                        "place": text,
                    ], required: ["message"]),
                "request": object(["id": id, "command": text], required: ["command"]),
                "results": results.mapValues(\.schema),
            ],
        ]
    }

    private static func text(_ schema: [String: Any]) throws -> String {
        let data = try JSONSerialization.data(
            withJSONObject: schema, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        return String(decoding: data, as: UTF8.self) + "\n"
    }

    /// With KVMSCOPE_RECORD=1 in the environment the file is written, and the test fails all the same.
    @Test func theFileIsTheCommands() throws {
        let expected = try Self.text(try Self.schema())
        if ProcessInfo.processInfo.environment["KVMSCOPE_RECORD"] != nil {
            try expected.write(to: Self.file, atomically: true, encoding: .utf8)
            Issue.record("wrote \(Self.file.lastPathComponent); run again without KVMSCOPE_RECORD")
            return
        }
        let written = try String(contentsOf: Self.file, encoding: .utf8)
        let difference = expected.split(separator: "\n").difference(from: written.split(separator: "\n"))
        #expect(
            written == expected,
            """
            results have changed: KVMSCOPE_RECORD=1 swift test --filter SchemaTests writes the schema anew
            \(difference.prefix(10).map { "\($0)" }.joined(separator: "\n"))
            """)
    }

    private static func validator() throws -> SchemaValidator {
        let file = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any]
        return SchemaValidator(root: try #require(file))
    }

    @Test(
        arguments: [
            #"{"format":1,"kind":"header","program":"kvmscope","version":"0.1.0"}"#,
            #"{"command":"p 1","id":7,"ok":true,"result":{}}"#,
            #"{"command":"p 1","id":"a","ok":false,"error":{"message":"m","column":3}}"#,
            #"{"event":"notice","kind":"event","message":"m"}"#,
        ])
    func linesAreValid(_ line: String) throws {
        let validator = try Self.validator()
        let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
        #expect(validator.problems(value, validator.root) == [])
    }

    @Test(
        arguments: [
            #"{"command":"p 1"}"#, #"{"ok":true}"#, #"{"command":"p 1","ok":1}"#,
            #"{"command":"p 1","id":1.5,"ok":true}"#, #"{"command":"p 1","ok":false,"error":{}}"#, "[]", "3",
            #"{"format":2,"kind":"header","program":"kvmscope","version":"0.1.0"}"#,
        ])
    func othersAreNot(_ line: String) throws {
        let validator = try Self.validator()
        let value = try JSONSerialization.jsonObject(with: Data(line.utf8), options: .fragmentsAllowed)
        #expect(!validator.problems(value, validator.root).isEmpty)
    }

    /// The results of the manual's table are in it.
    @Test func theResultsAreThere() throws {
        let results = try #require(
            (try Self.validator().root["$defs"] as? [String: Any])?["results"] as? [String: Any])
        for name in ["step", "continue", "info registers", "x", "print", "break", "info exits", "vcpu list"] {
            let shape = try #require(results[name] as? [String: Any], "\(name)")
            #expect((shape["properties"] as? [String: Any])?.isEmpty == false, "\(name)")
        }
    }
}
