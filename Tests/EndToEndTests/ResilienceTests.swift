import Foundation
import Testing

/// The built program where its surroundings are odd: descriptors that are closed or few, files that never begin, a busy
/// host.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct ResilienceTests {
    /// What a shell says of a program that it started its own way.
    private func shell(_ script: String, _ arguments: [String] = []) throws -> Finished {
        try run("/bin/sh", ["-c", script, Built.kvmscope] + arguments)
    }

    /// A descriptor of its own that got the number of a closed one would get what is printed, and the pipe of signals
    /// would read it back as signals.
    @Test(arguments: ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
    func closedDescriptorsAreFilledFirst(_ closing: String) throws {
        let folder = try TemporaryFolder()
        let dump = folder.url.appending(path: "dump").path
        let done = try shell(
            """
            "$0" --batch -ex "info registers" -ex step -ex 'writemem "\(dump)" 0x7c00 16' \(closing)
            """)
        #expect(done.status == 0, "\(done.errors)")
        #expect(try Data(contentsOf: URL(filePath: dump)).count == 16)
    }

    @Test(arguments: ["loadmem FILE 0x500", "source FILE"], [SIGTERM, SIGINT])
    func aPipeThatNobodyWritesToIsLeft(_ command: String, _ signal: Int32) throws {
        let folder = try TemporaryFolder()
        let pipe = folder.url.appending(path: "pipe").path
        try #require(mkfifo(pipe, 0o600) == 0)
        let process = Process()
        process.executableURL = URL(filePath: Built.kvmscope)
        process.arguments = [
            "--batch", "-ex", "print 1", "-ex", command.replacing("FILE", with: pipe), "-ex", "print 2",
        ]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // It has come as far as the command before.
        var text = ""
        while !text.contains("$1 = 1") {
            let part = output.fileHandleForReading.availableData
            try #require(!part.isEmpty, "it ended: \(text)")
            text += String(decoding: part, as: UTF8.self)
        }
        usleep(100_000)
        #expect(process.isRunning)
        kill(process.processIdentifier, signal)
        process.wait(seconds: 20)
        #expect(process.terminationReason == .exit && process.terminationStatus == 128 + signal)
        text += String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(!text.contains("$2"), "nothing after it is done")
    }

    @Test(arguments: ["--no-tui", "--batch"])
    func aHistoryThatIsAPipeIsLeftAlone(_ option: String) throws {
        let folder = try TemporaryFolder()
        let state = folder.url.appending(path: "kvmscope")
        try FileManager.default.createDirectory(at: state, withIntermediateDirectories: true)
        try #require(mkfifo(state.appending(path: "history").path, 0o600) == 0)
        // `script` gives it a terminal.
        let done = try run(
            "script", ["-qec", "\(Built.kvmscope) \(option) -ex 'print 1' -ex quit", "/dev/null"],
            environment: ["XDG_STATE_HOME": folder.url.path, "TERM": "xterm"], seconds: 60)
        #expect(done.status == 0 && done.output.contains("$1 = 1"), "\(done.output)")
    }

    /// One record a command, also where the stop is there before anybody waits for it.
    @Test func oneRecordACommandOnABusyHost() throws {
        let folder = try TemporaryFolder()
        let script = folder.url.appending(path: "steps")
        try String(repeating: "step\n", count: 80).write(to: script, atomically: true, encoding: .utf8)
        // Both processors have something else to do.
        let busy = (0..<2).map { _ in
            let process = Process()
            process.executableURL = URL(filePath: "/bin/sh")
            process.arguments = ["-c", "while kill -0 \(getpid()); do :; done 2>/dev/null"]
            return process
        }
        for process in busy { try process.run() }
        defer {
            for process in busy {
                // Whatever this thread has blocked, they have, too.
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
            }
        }
        for round in 0..<4 {
            let done = try run(Built.kvmscope, ["--json", "--batch", "-x", script.path])
            let lines = done.output.split(separator: "\n")
            #expect(lines.count == 82 && done.status == 0, "round \(round): \(lines.count) lines")
            #expect(lines.dropFirst(2).allSatisfy { $0.contains(#""number":"#) })
        }
    }
}
