import Foundation
import Testing

/// The built program without a terminal: options, images, batch, JSON and the report.
@Suite struct CommandLineTests {
    struct Bad: Sendable, CustomTestStringConvertible {
        var arguments: [String]
        var says: String
        var testDescription: String { arguments.joined(separator: " ") }
    }

    @Test(arguments: [
        Bad(arguments: ["--bogus"], says: "--bogus"),
        Bad(arguments: ["-m", "1Z"], says: "-m"),
        Bad(arguments: ["-m", "99999999999999999999G"], says: "-m"),
        Bad(arguments: ["--vcpus", "0"], says: "--vcpus"),
        Bad(arguments: ["--irqchip", "split"], says: "irqchip"),
        Bad(arguments: ["--flat", "xyz", "/dev/null"], says: "--flat"),
    ])
    func badOptionIsRefused(_ bad: Bad) throws {
        let done = try run(Built.kvmscope, bad.arguments + ["--batch", "-ex", "regs"])
        #expect(done.status == 64)
        #expect(done.errors.contains(bad.says), "\(done.errors)")
        #expect(done.output.isEmpty)
    }

    /// What another program is called, or has said, does not drive the terminal.
    @Test(arguments: [
        ["attach", "\u{1B}]0;title\u{7}"], ["launch", "--", "\u{1B}[2Jnone"], ["/\u{1B}[31mimage"],
        ["launch", "--", "sh", "-c", "printf 'red\\033[31m'; exit 3"],
    ])
    func controlCharactersAreShown(_ arguments: [String]) throws {
        let done = try run(Built.kvmscope, arguments)
        #expect(done.status == 2)
        #expect(done.errors.contains("\\x1b"), "\(done.errors)")
        #expect(!done.errors.contains("\u{1B}") && !done.errors.contains("\u{7}"))
    }

    /// A guest that reads its serial port, and shows it on port 0xE9 up to Enter.
    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func typedTextReachesTheGuest() throws {
        let code: [UInt8] = [
            0xBA, 0xFD, 0x03,  // next: mov dx, 0x3FD
            0xEC,  //             wait: in al, dx
            0xA8, 0x01,  //             test al, 1
            0x74, 0xFB,  //             jz wait
            0xBA, 0xF8, 0x03,  //       mov dx, 0x3F8
            0xEC,  //                   in al, dx
            0xE6, 0xE9,  //             out 0xE9, al
            0x3C, 0x0D,  //             cmp al, 13
            0x75, 0xEE,  //             jne next
            0xF4,  //                   hlt
        ]
        let folder = try TemporaryFolder()
        let image = folder.url.appending(path: "echo")
        try Data(code).write(to: image)
        let done = try run(
            Built.kvmscope,
            [
                // Nothing wakes it from its HLT.
                "--irqchip", "none", "--batch", "-ex", #"type " h\x69""#, "-ex", #"type \r"#, "-ex",
                "continue", "-ex",
                "info console",
            ]
                + [image.path])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("3 bytes for com1.\n1 byte for com1.\n"), "\(done.output)")
        #expect(done.output.contains("e9: 4 bytes\n   hi\n"), "\(done.output)")
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func badImageIsRefused() throws {
        let folder = try TemporaryFolder()
        func file(_ name: String, _ size: Int) throws -> String {
            let url = folder.url.appending(path: name)
            try Data(count: size).write(to: url)
            return url.path
        }
        let cases = [
            (["--example", "nope"], "there are: boot"), (["\(folder.url.path)/missing"], "No such file"),
            ([folder.url.path], "directory"),
            ([try file("empty", 0)], "empty"), ([try file("large", 1 << 20)], "boot sector"),
            (["-m", "1M", "--flat", "0x10000", try file("larger", 1 << 20)], "-m"),
        ]
        for (arguments, says) in cases {
            let done = try run(Built.kvmscope, arguments + ["--batch", "-ex", "regs"])
            #expect(done.status == 2, "\(arguments)")
            #expect(done.errors.contains(says), "\(done.errors)")
            #expect(done.errors.split(separator: "\n").count == 1, "\(done.errors)")
        }
    }

    /// Standard input that is no terminal is a script, without any option; where it is empty the guest runs to its end.
    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func standardInputIsAScript() throws {
        func piped(_ lines: String, _ options: String = "") throws -> Finished {
            try run("/bin/sh", ["-c", "printf '\(lines)' | '\(Built.kvmscope)' \(options)"])
        }
        let done = try piped(#"step\nprint 40 + 2\n"#)
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("0000:7c01"), "\(done.output)")
        #expect(done.output.contains("42"), "\(done.output)")
        // What follows a failed command is done, and the status tells of it.
        let failed = try piped(#"nonsense\nprint 40 + 2\n"#)
        #expect(failed.status == 1)
        #expect(failed.output.contains("42"))
        #expect(failed.errors.contains("nonsense"))
        let json = try piped(#"print 40 + 2\n"#, "--json")
        #expect(json.status == 0)
        #expect(json.output.contains(#""command":"print 40 + 2""#), "\(json.output)")
        #expect(try piped("").output.contains("in KVM_RUN"))
    }

    /// A terminal that can do no more than lines gets the line console.
    @Test(.enabled(if: Host.runsKVM && Host.path(of: "script") != nil, "needs /dev/kvm and script"))
    func aTerminalOfLinesGetsTheConsole() throws {
        let done = try run(
            "script", ["-qec", "'\(Built.kvmscope)' -ex 'vcpu list' -ex quit", "/dev/null"],
            environment: ["TERM": "dumb"])
        #expect(done.status == 0, "\(done.output)")
        #expect(done.output.contains("TERM=dumb: this terminal cannot move its cursor"), "\(done.output)")
        #expect(done.output.contains("0000:7c00"), "\(done.output)")
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func batchStopsAtTheFirstFailure() throws {
        let done = try batch([], ["print 1 + 1", "print 1 + * (", "print 40 + 2"])
        #expect(done.status == 1)
        #expect(done.output.contains("2"))
        #expect(!done.output.contains("42"))
        // A caret below the token that cannot be.
        let lines = done.errors.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let caret = try #require(
            lines.firstIndex { $0.trimmingCharacters(in: .whitespaces) == "^" }, "\(lines)")
        #expect(lines[caret].firstIndex(of: "^") != nil && lines[caret - 1].contains("1 + * ("))
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func scriptsAndCommandsRunInTheOrderGiven() throws {
        let folder = try TemporaryFolder()
        let script = folder.url.appending(path: "script")
        try "# a comment\nset $bx = 0x22\n\nprint/x $bx\n".write(
            to: script, atomically: true, encoding: .utf8)
        let done = try run(
            Built.kvmscope,
            ["--batch", "-ex", "print/x 0x11", "-x", script.path, "-ex", "print/x 0x33"])
        #expect(done.status == 0, "\(done.errors)")
        let order = ["0x11", "0x22", "0x33"].map { done.output.range(of: $0)?.lowerBound }
        #expect(!order.contains(nil), "\(done.output)")
        #expect(order.compactMap { $0 } == order.compactMap { $0 }.sorted())
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func jsonIsOneObjectALine() throws {
        let done = try batch(["--json"], ["step 3", "regs", "info exits", "nonsense"])
        #expect(done.status == 1)
        let all = try done.output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(all.first?["kind"] as? String == "header" && all.first?["format"] as? Int == 1)
        let records = all.dropFirst()
        #expect(records.map { $0["command"] as? String } == ["step 3", "regs", "info exits", "nonsense"])
        #expect(records.map { $0["ok"] as? Bool } == [true, true, true, false])
        #expect(records.prefix(3).allSatisfy { $0["result"] is [String: Any] && $0["error"] == nil })
        let error = try #require(records.last?["error"] as? [String: Any])
        #expect((error["message"] as? String)?.isEmpty == false)
    }

    /// README's first command, without a terminal.
    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func reportWithoutATerminal() throws {
        let done = try run(Built.kvmscope, [])
        #expect(done.status == 0, "\(done.errors)")
        for expected in ["real mode", "protected mode", "64-bit mode", "HLT", "IO 0xe9 out", "halted"] {
            #expect(done.output.contains(expected), "no \(expected) in \(done.output)")
        }
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"), arguments: ["triplefault", "exits", "smp"])
    func everyGuestEndsInAReport(_ example: String) throws {
        let done = try run(Built.kvmscope, ["--example", example])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("Exits"))
        if example == "triplefault" { #expect(done.output.lowercased().contains("triple fault")) }
    }

    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"), arguments: [SIGTERM, SIGHUP, SIGQUIT])
    func signalEndsARunningGuest(_ signal: Int32) throws {
        let process = try end(by: signal, ["--batch", "--example", "spin", "-ex", "continue"])
        #expect(process.terminationReason == .exit)
        #expect(process.terminationStatus == 128 + signal)
    }

    /// The runtime's report of a crash counts on the fault to come again, and one that was sent does not.
    @Test(
        .enabled(if: Host.runsKVM, "needs /dev/kvm"),
        arguments: [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT],
        [["--batch", "--example", "spin", "-ex", "continue"], ["--no-tui"]])
    func aCrashesSignalEndsItWhoeverSentIt(_ signal: Int32, _ arguments: [String]) throws {
        let process = try end(by: signal, arguments)
        #expect(process.terminationReason == .uncaughtSignal)
        #expect(process.terminationStatus == signal)
    }

    /// The program after `signal` was sent to it, while it runs a guest or waits for a command.
    private func end(by signal: Int32, _ arguments: [String]) throws -> Process {
        let process = Process(of: Built.kvmscope, arguments)
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["SWIFT_BACKTRACE": "enable=yes,interactive=no,symbolicate=off"]) { $1 }
        let input = Pipe()
        process.standardInput = input
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        usleep(700_000)
        #expect(process.isRunning)
        kill(process.processIdentifier, signal)
        process.wait(seconds: 20)
        return process
    }
}
