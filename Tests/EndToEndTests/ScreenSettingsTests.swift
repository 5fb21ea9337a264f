import Foundation
import Testing

/// Layouts, themes and the mouse, as a user has them in a real terminal; and that they are kept.
@Suite(
    .serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"), .enabled(if: Host.has("tmux"), "needs tmux"))
struct ScreenSettingsTests {
    private func quit(_ terminal: RealTerminal) throws {
        try terminal.enter("quit")
        try terminal.waitFor("ready>")
    }

    @Test(arguments: [(80, 24), (100, 30), (120, 40), (200, 60)])
    func layoutsAreSwitchedAndKept(columns: Int, rows: Int) throws {
        let terminal = try RealTerminal(columns: columns, rows: rows)
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        try terminal.enter("layout exits")
        try terminal.waitFor("Layout exits: the exits have the room.")
        try terminal.press("M-l")
        try terminal.waitFor("Layout wide: output has the room.")
        try quit(terminal)
        try terminal.enter("clear; \(Built.kvmscope)")
        try terminal.waitFor("(kvmscope)")
        try terminal.enter("layout")
        try terminal.waitFor("Layout wide: output has the room.")
        try quit(terminal)
    }

    @Test func themesAndTheMouseAreKept() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30, environment: ["TERM": "tmux-256color"])
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        #expect(try terminal.property("mouse_any_flag") == "1")
        try terminal.enter("set mouse off")
        try terminal.waitFor("The terminal has the mouse")
        #expect(try terminal.property("mouse_any_flag") == "0")
        try terminal.enter("set theme light")
        try terminal.waitFor("The theme is light.")
        try quit(terminal)
        try terminal.enter("clear; \(Built.kvmscope)")
        try terminal.waitFor("(kvmscope)")
        try terminal.enter("show theme")
        try terminal.waitFor("The theme is light.")
        #expect(try terminal.property("mouse_any_flag") == "0")
        try quit(terminal)
    }

    @Test func altSWritesTheScreen() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.enter("cd \(terminal.folder.url.path)")
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        try terminal.press("M-s")
        try terminal.waitFor("The screen is in kvmscope-screen-1.txt.")
        let text = try String(
            contentsOf: terminal.folder.url.appending(path: "kvmscope-screen-1.txt"), encoding: .utf8)
        #expect(text.contains("0000:7c00") && text.contains("Registers"))
        try quit(terminal)
    }

    /// Keys that are typed while the terminal is asked for its background are not lost.
    @Test func keysTypedEarlyArrive() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.type("\(Built.kvmscope)\nprint 6 * 7\n")
        try terminal.waitFor("$1 = 42")
        try quit(terminal)
    }

    @Test func leavingAGuestThatHasRunIsAskedAbout() throws {
        let terminal = try RealTerminal(columns: 100, rows: 30)
        try terminal.enter(Built.kvmscope)
        try terminal.waitFor("(kvmscope)")
        try terminal.enter("step")
        try terminal.waitFor("stop 1")
        try terminal.press("C-c", "C-c")
        try terminal.waitFor("quit? (y or n)")
        try terminal.press("n")
        try terminal.enter("print 6 * 7")
        try terminal.waitFor("$1 = 42")
        try terminal.press("C-c", "C-c")
        try terminal.waitFor("quit? (y or n)")
        try terminal.press("y")
        try terminal.waitFor("ready>")
    }
}
