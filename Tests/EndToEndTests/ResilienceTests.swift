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
        let process = Process(
            of: Built.kvmscope,
            ["--batch", "-ex", "print 1", "-ex", command.replacing("FILE", with: pipe), "-ex", "print 2"])
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
            Process(of: "/bin/sh", ["-c", "while :; do :; done"])
        }
        for process in busy { try process.run() }
        defer {
            for process in busy {
                // Whatever this thread has blocked, they have, too.
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
            }
        }
        // 200 rounds take two minutes: KVMSCOPE_SLOW=1.
        let rounds = ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] == "1" ? 200 : 4
        for round in 0..<rounds {
            let done = try run(Built.kvmscope, ["--json", "--batch", "-x", script.path])
            let lines = done.output.split(separator: "\n")
            #expect(lines.count == 82 && done.status == 0, "round \(round): \(lines.count) lines")
            #expect(lines.dropFirst(2).allSatisfy { $0.contains(#""number":"#) })
        }
    }

    /// A file that grows no further, as on a full disk: RLIMIT_FSIZE gives EFBIG and a signal.
    @Test func aDumpThatDoesNotFitLeavesTheOldFile() throws {
        let folder = try TemporaryFolder()
        let dump = folder.url.appending(path: "dump")
        try Data("the old one".utf8).write(to: dump)
        let done = try shell(
            """
            ulimit -f 8; exec "$0" --batch -ex 'writemem "\(dump.path)" 0 1048576' -ex 'print 7' 2>&1
            """)
        #expect(try Data(contentsOf: dump) == Data("the old one".utf8))
        #expect(done.output.contains("\(dump.path)"), "\(done.output)")
        #expect(done.output.contains("too large") || done.output.contains("File size"), "\(done.output)")
        // Nothing of the new one is left beside it.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["dump"])
        #expect(done.status == 1, "it is an error, and no signal: \(done.status)")
    }

    @Test func aFullDeviceIsToldOf() throws {
        let done = try shell(
            """
            exec "$0" --batch -ex 'writemem /dev/full 0 4096' 2>&1
            """)
        #expect(done.status == 1 && done.output.contains("/dev/full"), "\(done.output)")
    }

    /// Nothing waits for a reader: whoever launches a program is its tracer, and could not be left meanwhile.
    @Test func anOutputThatIsAPipeWithoutAReaderIsRefused() throws {
        let folder = try TemporaryFolder()
        let pipe = folder.url.appending(path: "pipe").path
        try #require(mkfifo(pipe, 0o600) == 0)
        let done = try run(
            Built.kvmscope, ["launch", "--batch", "--output", pipe, "--", "/bin/sleep", "60"], seconds: 60)
        #expect(done.status == 2 && done.errors.contains("nobody reads"), "\(done.errors)")
    }

    /// A pipe that nobody writes to is the program's to wait for.
    @Test func anInputThatIsAPipeIsWaitedForByTheProgram() throws {
        let folder = try TemporaryFolder()
        let pipe = folder.url.appending(path: "pipe").path
        try #require(mkfifo(pipe, 0o600) == 0)
        let done = try run(
            Built.kvmscope,
            ["launch", "--batch", "--wait", "1", "--input", pipe, "-ex", "continue", "--", "/bin/cat"],
            seconds: 60)
        #expect(done.status == 2 && done.errors.contains("it was ended after 1"), "\(done.errors)")
    }

    @Test func aProgramThatMakesNoVMIsToldOfAndLeftByCtrlC() throws {
        let process = Process(
            of: Built.kvmscope, ["launch", "--batch", "-ex", "continue", "--", "/bin/sleep", "300"])
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        var text = ""
        while !text.contains("has not asked for a VM") {
            let part = output.fileHandleForReading.availableData
            try #require(!part.isEmpty, "it ended: \(text)")
            text += String(decoding: part, as: UTF8.self)
        }
        kill(process.processIdentifier, SIGINT)
        process.wait(seconds: 20)
        #expect(process.terminationReason == .exit && process.terminationStatus != 0)
    }

    /// It waits no longer than it was told to, and ends the program.
    @Test func aProgramThatMakesNoVMIsWaitedForAsLongAsWanted() throws {
        let folder = try TemporaryFolder()
        let pid = folder.url.appending(path: "pid")
        let done = try run(
            Built.kvmscope,
            [
                "launch", "--batch", "--wait", "1", "-ex", "continue", "--", "/bin/sh", "-c",
                "echo $$ > \(pid.path); exec sleep 300",
            ])
        #expect(done.status == 2, "\(done.errors)")
        #expect(
            done.errors.contains("has not asked for a VM") && done.errors.contains("it was ended after 1"),
            "\(done.errors)")
        let text = try String(contentsOf: pid, encoding: .utf8)
        let launched = try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(kill(launched, 0) != 0, "the program is ended, too")
    }

    /// What the tests start ends with them, also where they are killed.
    @Test func whatATestStartsEndsWithIt() throws {
        // The shell is in the place of the tests' process.
        let shell = Process()
        shell.executableURL = URL(filePath: "/bin/sh")
        shell.arguments = ["-c", "'\(Built.tinyVMM)' run-with $$ /bin/sleep 1000 & echo $!; wait"]
        let output = Pipe()
        shell.standardOutput = output
        shell.standardInput = FileHandle.nullDevice
        try shell.run()
        let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let child = try #require(Int32(said.trimmingCharacters(in: .whitespacesAndNewlines)))
        func command() -> String {
            (try? String(contentsOfFile: "/proc/\(child)/comm", encoding: .utf8)) ?? ""
        }
        let end = Date(timeIntervalSinceNow: 60)
        while command() != "sleep\n", Date() < end { usleep(1000) }
        #expect(command() == "sleep\n")
        kill(shell.processIdentifier, SIGKILL)
        shell.waitUntilExit()
        // One that nobody waits for is still in the table.
        func isThere() -> Bool {
            let status = (try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)) ?? ") Z"
            return status.split(separator: ")").last?.hasPrefix(" Z") != true
        }
        while isThere(), Date() < end { usleep(1000) }
        #expect(!isThere())
    }
}
