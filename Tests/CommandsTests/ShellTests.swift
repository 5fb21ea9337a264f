import Debugger
import Foundation
import Testing

@testable import Commands

/// Programs that a session runs, and files that it writes its output to.
@Suite struct ShellTests {
    let driver: Driver
    init() throws { driver = try Driver() }

    @Test func whatAProgramPrintsIsShown() throws {
        #expect(try driver.text("shell printf 'a\\nb\\033[1m'") == ["a", "b\\x1b[1m"])
        #expect(try driver.text("!echo $((6 * 7))") == ["42"])
        #expect(try driver.text("!exit 3") == ["Its status is 3."])
        #expect(try driver.text("output/d $_shell_exitcode") == ["3"])
        #expect(try driver.text("! kill -9 $$") == ["Signal 9 ended it."])
        #expect(try driver.text("output/d $_shell_exitsignal") == ["9"])
        // It has nothing to read, and no terminal to wait at.
        #expect(try driver.text("shell cat; echo end") == ["end"])
        #expect(try driver.failure("shell").message.hasPrefix("`shell` needs a line"))
    }

    /// One that stays behind with the pipe is not waited for.
    @Test func aProgramInTheBackgroundIsNotWaitedFor() throws {
        let lines = try driver.text("!sleep 30 & echo $!")
        let pid = try #require(Int32(lines[0]))
        #expect(lines.count == 1 && kill(pid, SIGKILL) == 0)
    }

    @Test func ctrlCEndsAProgram() throws {
        var asked = 0
        driver.session.cancelRequested = {
            asked += 1
            return asked > 2
        }
        #expect(try driver.text("shell sleep 1000") == ["Signal 2 ended it."])
        #expect(driver.session.wasCancelled)
    }

    @Test func aCommandsOutputGoesToAProgram() throws {
        #expect(try driver.text("pipe info registers | grep -c eip") == ["1"])
        #expect(try driver.text("| p 6 * 7 | cat") == ["$1 = 42  0x2a"])
        #expect(try driver.text("pipe -d @@ p 1 @@ tr 1 b") == ["$2 = b  0xb"])
        #expect(try driver.text("pipe step | wc -l") == ["1"])
        #expect(try driver.failure("pipe p 1").message.contains("is expected between"))
        #expect(try driver.failure("pipe if 1 | cat").message.contains("one that opens a block"))
        #expect(try driver.failure("pipe frobnicate | cat").message.contains("no command"))
        // More than a pipe holds at once.
        #expect(try driver.text("pipe x/20000xb 0 | tail -n 1 | wc -l") == ["1"])
        // And a program that reads none of it.
        #expect(try driver.text("pipe x/20000xb 0 | true").isEmpty)
    }

    @Test func aCommandOfOnesOwnGoesToAProgram() throws {
        for line in ["define two", "p 1", "p 2", "end"] {
            _ = try driver.session.execute(line, origin: .script)
        }
        #expect(try driver.text("pipe two | wc -l") == ["2"])
        #expect(!driver.session.hasQueuedLines)
        for line in ["define deep", "pipe deep | cat", "end"] {
            _ = try driver.session.execute(line, origin: .script)
        }
        #expect(try driver.failure("pipe deep | cat").message.contains("nested more than 8 deep"))
    }

    /// The guest stops while a program runs: the stop is shown after it, once.
    @Test func aStopThatComesMeanwhileIsKept() throws {
        guard case .running = try driver.session.execute("continue &") else { throw CommandError("no") }
        _ = try driver.text("shell sleep 0.2")
        #expect(driver.session.isRunning)
        let stop = try #require(try driver.session.collectStop(timeout: .zero))
        #expect(stop.lines(width: 80)[0].text.hasPrefix("Halted"))
        #expect(!driver.session.isRunning)
        #expect(try driver.session.collectStop(timeout: .zero) == nil)
    }

    @Test func aSessionMayBeDeniedTheHost() throws {
        driver.session.hostAccess = []
        for line in ["shell true", "pipe p 1 | cat", "writemem /tmp/x 0 1", "set logging on"] {
            #expect(try driver.failure(line).message.contains("may"))
        }
    }

    @Test func outputIsLogged() throws {
        let folder = try SourceTests.Folder([:])
        let file = "\(folder.path)/out.txt"
        let log = driver.session.log
        #expect(try driver.text("set logging file \(file)")[0].contains("not logged"))
        #expect(try driver.text("set logging on")[0] == "Output goes to \(file), there and here.")
        #expect(log.record(Message("one"), width: 80) == nil)
        #expect(log.record(PrintedText(Array("two".utf8)), width: 80) == nil)
        #expect(log.record(CommandError("three"), width: 80) == nil)
        try driver.output("set logging off")
        #expect(log.record(Message("four"), width: 80) == nil)
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "one\ntwoerror: three\n")
        // Appended to, unless it is said otherwise.
        try driver.output("set logging enabled on")
        _ = log.record(Message("five"), width: 80)
        try driver.output("set logging overwrite on")
        try driver.output("set logging redirect on")
        #expect(log.isRedirected)
        try driver.output("set logging off")
        #expect(try String(contentsOfFile: file, encoding: .utf8).hasSuffix("three\nfive\n"))
        try driver.output("set logging on")
        #expect(try String(contentsOfFile: file, encoding: .utf8).isEmpty)
        // One that cannot be written leaves logging where it was.
        #expect(try driver.failure("set logging file /nonexistent/x").message.contains("No such file"))
        #expect(log.isOn)
        try driver.output("set logging off")
        #expect(try driver.failure("set logging file").message == "`file` takes one file")
        try driver.output("set logging file /nonexistent/x")
        #expect(try driver.failure("set logging on").message.contains("No such file"))
        #expect(try driver.failure("set logging maybe").remedy?.contains("redirect") == true)
    }
}
