import Foundation
import Testing

/// The program as a user has it: the built binary in a real terminal.
@Suite(
    .serialized,
    .enabled(if: Host.runsKVM, "needs /dev/kvm"),
    .enabled(if: Host.has("tmux"), "needs tmux"))
struct ScreenTests {
    /// What the shell's terminal is like, as far as a program could leave it changed.
    private struct Condition: Equatable {
        var modes: String
        var alternate: String
        var cursor: String
        var mouse: String
    }

    private func condition(_ terminal: RealTerminal) throws -> Condition {
        // A word and a file of each call's own: what an earlier one wrote is still there, on the screen, too.
        let word = UUID().uuidString.prefix(8)
        let modes = terminal.folder.url.appending(path: "modes-\(word)")
        try terminal.enter("clear; stty -g > \(modes.path); echo done\"\"-\(word)")
        try terminal.waitFor("done-\(word)")
        return Condition(
            modes: try String(contentsOf: modes, encoding: .utf8),
            alternate: try terminal.property("alternate_on"), cursor: try terminal.property("cursor_flag"),
            mouse: try terminal.property("mouse_any_flag"))
    }

    /// The next instruction's mark is in the line of this address; a jump's arrow may stand between.
    private func stands(_ screen: String, at address: String) -> Bool {
        screen.split(separator: "\n").contains { line in
            guard let mark = line.range(of: "=>"), let place = line.range(of: address) else { return false }
            return mark.upperBound <= place.lowerBound
                && line[mark.upperBound..<place.lowerBound].allSatisfy { !$0.isLetter && !$0.isNumber }
        }
    }

    @Test(arguments: [(120, 40), (80, 24)])
    func aSession(columns: Int, rows: Int) throws {
        let terminal = try RealTerminal(columns: columns, rows: rows)
        let before = try condition(terminal)
        #expect(before.alternate == "0")

        // Start: the built-in guest, stopped at its first instruction.
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        #expect(try terminal.waitFor("0000:7c00").contains("real"))
        #expect(try terminal.property("alternate_on") == "1")

        // Step.
        try terminal.press("F11")
        try terminal.wait("the second instruction") { $0.contains("stop 1 ") && !stands($0, at: "0000:7c00") }

        // Edit a register, and see it in its pane.
        try terminal.enter("set $ebx = 0xbeef")
        try terminal.wait("the edit in the register pane") { screen in
            screen.split(separator: "\n").contains { $0.contains("ebx 0000beef") }
        }

        // The memory pane, pointed at the code by F7.
        try terminal.press("F7")
        try terminal.enter("0x7dfe")
        try terminal.wait("the boot signature") { $0.lowercased().contains("55 aa") }

        // Break and continue: the guest stops there, not before and not after.
        let target = try terminal.waitFor("=>")
        #expect(target.contains("=>"))
        try terminal.enter("b $pc")
        try terminal.waitFor("Breakpoint 1")
        try terminal.enter("delete 1")
        try terminal.enter("continue")
        try terminal.wait("the guest's end") { $0.contains("Halted") || $0.contains("HLT") }

        try quit(terminal)
        #expect(try condition(terminal) == before)
    }

    @Test(.enabled(if: BootSector.areInstalled, "needs syslinux-common and grub-pc-bin"))
    func breakpointInARealBootSector() throws {
        let terminal = try RealTerminal(columns: 120, rows: 40)
        try terminal.enter("\(Built.kvmscope) \(BootSector.all[0].image)")
        try terminal.wait("the first instruction") { stands($0, at: "0000:7c00") }
        try terminal.enter("b 0:61f")
        try terminal.waitFor("debug register")
        try terminal.press("F5")
        try terminal.wait("the breakpoint") { stands($0, at: "0000:061f") && $0.contains("breakpoint 1") }
        try quit(terminal)
    }

    /// `jmp $` never exits by itself. F12, Ctrl-C and `stop` each get it back.
    @Test(arguments: ["F12", "C-c", "stop"])
    func spinningGuestIsStopped(_ how: String) throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.enter("\(Built.kvmscope) --example spin")
        try terminal.waitFor("(kvmscope)")
        try terminal.press("F5")
        try terminal.waitFor("running")
        // A running guest can be edited: it is kicked, edited, and goes on.
        try terminal.enter("set $edx = 0x1234")
        try terminal.waitFor("00001234")
        if how == "stop" { try terminal.enter("stop") } else { try terminal.press(how) }
        try terminal.wait("the stop") { $0.lowercased().contains("interrupted") || $0.contains("Stopped by") }
        try quit(terminal)
    }

    @Test func theScreenFollowsTheTerminal() throws {
        let terminal = try RealTerminal(columns: 80, rows: 24)
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        for (columns, rows) in [(200, 60), (60, 15), (120, 40)] {
            try terminal.resize(columns: columns, rows: rows)
            try terminal.wait("\(columns)x\(rows)") { screen in
                let lines = screen.split(separator: "\n", omittingEmptySubsequences: false)
                return screen.contains("(kvmscope)") && (lines.first?.count ?? 0) >= columns - 1
            }
        }
        try quit(terminal)
    }

    /// Whatever ends it, the terminal is as it was found.
    @Test(
        arguments: [
            "C-d", "C-c C-c", "TERM", "HUP", "QUIT", "ILL", "ABRT", "USR1", "USR2", "PIPE", "ALRM", "XCPU",
            "IO",
        ])
    func terminalIsPutBack(_ end: String) throws {
        let terminal = try RealTerminal(
            columns: 100, rows: 30, environment: ["SWIFT_BACKTRACE": "enable=no"])
        let before = try condition(terminal)
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        let program = try program(in: terminal)
        if end.hasPrefix("C-") {
            try terminal.press(
                contentsOf: end.split(separator: " ").map(String.init))
        } else {
            let signals = [
                "TERM": SIGTERM, "HUP": SIGHUP, "QUIT": SIGQUIT, "ILL": SIGILL, "ABRT": SIGABRT,
                "USR1": SIGUSR1,
                "USR2": SIGUSR2, "PIPE": SIGPIPE, "ALRM": SIGALRM, "XCPU": SIGXCPU, "IO": SIGIO,
            ]
            kill(program, try #require(signals[end]))
        }
        try waitForTheEnd(of: program, in: terminal)
        #expect(try condition(terminal) == before)
    }

    /// The shell has the terminal, and whoever could give it back is gone: what is typed there can be seen and never read.
    @Test(arguments: ["-m 64M", "top"])
    func oneThatCanReadNoKeyAnyMoreEnds(_ arguments: String) throws {
        let terminal = try RealTerminal(columns: 120, rows: 40)
        let file = terminal.folder.url.appending(path: "pid")
        try terminal.enter(
            "(\(Built.kvmscope) \(arguments) < /dev/tty & echo $! > \(file.path)); exec tail -f /dev/null")
        var number: Int32?
        try terminal.wait("the screen") { screen in
            number = (try? String(contentsOf: file, encoding: .utf8)).flatMap { Int32($0.dropLast()) }
            return number != nil
                && (screen.hasPrefix("\u{2500} kvmscope") || screen.hasPrefix(" kvmscope top"))
        }
        let program = try #require(number)
        var hasEnded = false
        defer { if !hasEnded { kill(program, SIGKILL) } }
        try terminal.type("x\n")
        try terminal.wait("the end of kvmscope") { _ in kill(program, 0) < 0 }
        hasEnded = true
    }

    /// In another session it gets no SIGHUP, and the terminal polls readable and hung up at once.
    @Test func oneWhoseTerminalIsGoneEnds() throws {
        let terminal = try RealTerminal(columns: 120, rows: 40)
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "pid")
        try terminal.enter(
            "setsid sh -c 'echo $$ > \(file.path); exec \(Built.kvmscope) -m 64M' < $(tty) > $(tty) 2>&1 & "
                + "exec tail -f /dev/null")
        try terminal.wait("the screen") { $0.hasPrefix("\u{2500} kvmscope") }
        let program = try #require(Int32(try String(contentsOf: file, encoding: .utf8).dropLast()))
        try terminal.close()
        let end = Date(timeIntervalSinceNow: 30)
        while kill(program, 0) == 0, Date() < end { usleep(10_000) }
        let isAlive = kill(program, 0) == 0
        if isAlive { kill(program, SIGKILL) }
        #expect(!isAlive)
    }

    /// The terminal first, then one line that says what happened and where the backtrace is. The report of Swift's runtime
    /// would take seconds and ask whether to look closer; nobody is there to answer.
    @Test(arguments: [SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGTRAP], ["", " --no-tui"])
    func aCrashIsOneLine(_ signal: Int32, _ option: String) throws {
        let reports = try TemporaryFolder()
        let terminal = try RealTerminal(
            columns: 160, rows: 30,
            environment: [
                "SWIFT_BACKTRACE": "enable=yes,interactive=yes,timeout=1h,symbolicate=off",
                "TMPDIR": reports.url.path,
            ])
        let before = try condition(terminal)
        try terminal.enter(Built.kvmscope + option)
        try terminal.waitFor("(kvmscope)")
        try terminal.type("half a li")
        try terminal.waitFor("half a li")
        let program = try program(in: terminal)
        kill(program, signal)
        try waitForTheEnd(of: program, in: terminal)
        let screen = try terminal.screen().split(separator: "\n").map(String.init)
        #expect(try condition(terminal) == before)
        let line = try #require(screen.first { $0.hasPrefix("kvmscope: crashed: SIG") }, "\(screen)")
        #expect(line.contains("sent by process \(getpid())"))
        let names = try FileManager.default.contentsOfDirectory(atPath: reports.url.path)
        #expect(names == ["kvmscope-crash-\(program).txt"] && line.hasSuffix(names.first ?? "?"))
        let report = try String(contentsOf: reports.url.appending(path: names[0]), encoding: .utf8)
        #expect(report.split(separator: "\n").filter { $0.contains("[0x") }.count > 3, "\(report)")
        #expect(!screen.contains { $0.contains("Program crashed") || $0.contains("Press") })
    }

    /// What a running guest has to say does not wait for a line, and what is typed meanwhile stays.
    @Test func theLineConsoleShowsAStopAtOnce() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.enter("\(Built.kvmscope) --no-tui --example spin")
        try terminal.waitFor("(kvmscope)")
        try terminal.enter("continue &")
        try terminal.waitFor("Running vCPU")
        try terminal.type("print 40 +")
        // A breakpoint's commands, so that the guest is stopped by itself while a line is being typed.
        try terminal.waitFor("print 40 +")
        let program = try program(in: terminal)
        try terminal.press("C-c")
        try terminal.wait("the stop") { $0.contains("Interrupted") }
        try terminal.enter("break $pc")
        try terminal.enter("commands")
        try terminal.enter("print 0x1234")
        try terminal.enter("end")
        try terminal.enter("continue &")
        try terminal.wait("the commands' output, without a key") { $0.contains("= 4660") }
        try terminal.enter("print 40 + 2")
        try terminal.waitFor("= 42")
        try terminal.enter("quit")
        try waitForTheEnd(of: program, in: terminal)
    }

    /// The shell's one child: kvmscope.
    private func program(in terminal: RealTerminal) throws -> Int32 {
        let shell = try terminal.property("pane_pid")
        let children = try String(contentsOfFile: "/proc/\(shell)/task/\(shell)/children", encoding: .utf8)
        return try #require(children.split(separator: " ").first.flatMap { Int32($0) })
    }

    private func quit(_ terminal: RealTerminal) throws {
        let program = try program(in: terminal)
        try terminal.enter("quit")
        try waitForTheEnd(of: program, in: terminal)
    }

    /// The prompt alone does not tell: it stood above the program's name all the time.
    private func waitForTheEnd(of program: Int32, in terminal: RealTerminal) throws {
        try terminal.wait("the end of kvmscope") { _ in kill(program, 0) < 0 }
        try terminal.waitFor("ready>")
    }
}
