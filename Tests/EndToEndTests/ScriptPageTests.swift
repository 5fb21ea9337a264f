import Foundation
import Testing

/// The manual's page of scripts: each is done by the program, and shows what the page says.
@Suite(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct ScriptPageTests {
    private static let page = Markdown(path: "Sources/kvmscope/kvmscope.docc/Scripts.md")

    struct Script: CustomTestStringConvertible {
        var lines: [String]
        /// What the page says that it shows; nil where it says nothing.
        var output: [String]?
        var testDescription: String { lines.first ?? "" }
    }

    static let scripts: [Script] = page.fences.enumerated().compactMap { index, fence in
        guard fence.language == "script" else { return nil }
        let next = page.fences.dropFirst(index + 1).first
        return Script(lines: fence.lines, output: next?.language == "output" ? next?.lines : nil)
    }

    @Test func theyAreThere() { #expect(Self.scripts.count >= 7) }

    @Test(arguments: scripts) func fromAFile(_ script: Script) throws {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "script")
        try script.lines.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
        let done = try run(Built.kvmscope, ["--batch", "-x", file.path])
        #expect(done.status == 0, "\(done.errors)")
        let shown = done.output.split(separator: "\n").map(String.init).filter { !$0.contains("Sourc") }
        if let output = script.output {
            #expect(shown == output)
        } else {
            #expect(shown.last?.hasPrefix("at 0000:7c") == true, "\(shown)")
        }
    }

    /// The same on a standard input that is no terminal.
    @Test(arguments: scripts.filter { $0.output != nil }) func fromStandardInput(_ script: Script) throws {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "script")
        try (script.lines.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
        let done = try run("sh", ["-c", "\(Built.kvmscope) < \(file.path)"])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.split(separator: "\n").map(String.init) == script.output)
    }

    /// As JSON a block is one line.
    @Test func aBlockIsOneRecord() throws {
        let done = try run(
            Built.kvmscope,
            [
                "--json", "--batch", "-ex", "set $n = 0", "-ex", "while $n < 2", "-ex", "set $n++", "-ex",
                "print $n",
                "-ex", "end", "-ex", "if 1", "-ex", "p $nope", "-ex", "end",
            ])
        #expect(done.status == 1)
        let records = try done.output.split(separator: "\n").dropFirst().map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(records.map { $0["command"] as? String } == ["set $n = 0", "while $n < 2", "if 1"])
        let result = try #require(records[1]["result"] as? [String: Any])
        let commands = try #require(result["commands"] as? [[String: Any]])
        #expect(
            commands.map { $0["command"] as? String } == ["set $n++", "print $n", "set $n++", "print $n"])
        #expect(records[2]["ok"] as? Bool == false)
        #expect((records[2]["error"] as? [String: Any])?["place"] as? String == "typed:2")
    }

    /// The chain that a user of boot code types: the guest runs on while a program does.
    @Test func theGuestRunsOnWhileAProgramDoes() throws {
        let done = try run(
            Built.kvmscope,
            [
                "--batch", "--example", "spin", "-ex", "continue &", "-ex", "shell sleep 0.3; echo slept",
                "-ex", "stop",
                "-ex", "printf \"%d\\n\", $_shell_exitcode",
            ])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("slept\n"))
        #expect(done.output.contains("Interrupted"))
        #expect(done.output.hasSuffix("0\n"))
    }

    @Test func quitPassesAStatusOn() throws {
        #expect(
            try run(Built.kvmscope, ["--batch", "-ex", "continue", "-ex", "quit $_exitcode + 3"]).status == 3)
    }

    @Test(.enabled(if: Host.has("tmux"), "needs tmux"))
    func typedOnTheScreen() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        for line in ["define two", "printf \"%d\", 1 + 1", "echo \\ words\\n"] { try terminal.enter(line) }
        // The prompt says that the block is open.
        try terminal.wait("the prompt of a block") { screen in
            screen.split(separator: "\n").contains { $0.hasPrefix("> ") || $0 == ">" }
        }
        try terminal.enter("end")
        try terminal.waitFor("Defined `two`.")
        try terminal.enter("two")
        try terminal.waitFor("2 words")
        // A loop without an end is ended by Ctrl-C.
        for line in ["while 1", "end"] { try terminal.enter(line) }
        usleep(300_000)
        try terminal.press("C-c")
        try terminal.waitFor("Interrupted.")
        try terminal.enter("quit")
        try terminal.waitFor("ready>")
    }
}
