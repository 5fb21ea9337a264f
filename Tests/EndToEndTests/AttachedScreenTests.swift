import Foundation
import Testing

/// The screen on another program's guest, however it ends.
@Suite(
    .serialized,
    .enabled(if: Host.runsKVM, "needs /dev/kvm"),
    .enabled(if: Host.has("tmux"), "needs tmux"))
struct AttachedScreenTests {
    @Test(
        "ended by a signal or with its terminal while patches stand: all is put back, the terminal too",
        arguments: [SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGABRT, nil] as [Int32?], [true, false])
    func ended(number: Int32?, runs: Bool) throws {
        let guest = try TinyGuest()
        let code = try guest.code()
        var terminal: RealTerminal? = try RealTerminal(columns: 80, rows: 24)
        let folder = try #require(terminal?.folder)
        let (modes, process) = (folder.url.appending(path: "modes"), folder.url.appending(path: "pid"))
        try terminal?.enter("stty -g > \(modes.path)")
        try terminal?.enter(
            "sh -c 'echo $$ > \(process.path); exec \(Built.kvmscope) attach \(guest.process.processIdentifier)'"
        )
        try terminal?.waitFor("(kvmscope)")
        try terminal?.enter("stop")
        try terminal?.waitFor("interrupted")
        // More than there are debug registers, and none that stops the guest.
        for place in ["0x9000", "0x9001", "0x9002", "0x1005", "0x1012", "0x1029"] {
            try terminal?.enter("break \(place) if $bx == 9")
        }
        try terminal?.waitFor("Breakpoint 6 at")
        #expect(try guest.code() != code)
        if runs {
            try terminal?.enter("continue")
            try terminal?.waitFor(", running")
        }
        let pid = try #require(
            Int32(
                String(contentsOf: process, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)))
        if let number {
            kill(pid, number)
        } else {
            // The terminal goes away with its server.
            terminal = nil
        }
        let end = Date(timeIntervalSinceNow: 10)
        while kill(pid, 0) == 0, Date() < end { usleep(1000) }
        #expect(kill(pid, 0) != 0, "kvmscope has ended")
        if let terminal {
            let before = try String(contentsOf: modes, encoding: .utf8)
            try terminal.enter("clear; stty -g > \(modes.path); echo don\"\"e")
            try terminal.waitFor("done")
            #expect(try String(contentsOf: modes, encoding: .utf8) == before)
            #expect(try terminal.property("alternate_on") == "0")
            #expect(try terminal.property("cursor_flag") == "1")
        }
        try guest.expectGoesOn()
        #expect(try guest.code() == code)
    }
}
