import Foundation
import Testing

/// What is kept between runs of the program: the init file, sessions, and an image's breakpoints.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct KeptTests {
    /// A boot sector of NOPs and HLT, in a folder that is all there is of a home.
    private struct Home {
        let folder: TemporaryFolder
        var path: String { folder.url.path }
        var image: String { path + "/image" }
        var environment: [String: String] {
            ["HOME": path, "XDG_CONFIG_HOME": path + "/config", "XDG_STATE_HOME": path + "/state"]
        }

        init(initFile: String? = nil) throws {
            folder = try TemporaryFolder()
            var sector = [UInt8](repeating: 0x90, count: 512)
            sector[16] = 0xF4
            sector[510] = 0x55
            sector[511] = 0xAA
            try Data(sector).write(to: URL(filePath: image))
            guard let initFile else { return }
            let config = path + "/config/kvmscope"
            try FileManager.default.createDirectory(atPath: config, withIntermediateDirectories: true)
            try initFile.write(toFile: config + "/init", atomically: true, encoding: .utf8)
        }
    }

    @Test func theInitFileIsDoneFirst() throws {
        let home = try Home(initFile: "set $n = 5\necho from init\\n\n")
        let arguments = ["--batch", "-ex", "printf \"%d\\n\", $n", home.image]
        let done = try run(Built.kvmscope, arguments, environment: home.environment)
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output == "from init\n5\n")
        let without = try run(Built.kvmscope, ["--no-init"] + arguments, environment: home.environment)
        #expect(without.status == 1)
        #expect(without.errors.contains("$n"))
        // For programs there is nothing but records.
        let json = try run(Built.kvmscope, ["--json"] + arguments, environment: home.environment)
        #expect(json.output.split(separator: "\n").allSatisfy { $0.hasPrefix("{") })
        #expect(json.errors.contains("from init"))
    }

    @Test func anInitFileThatOthersCanWriteIsNotDone() throws {
        let home = try Home(initFile: "echo from init\\n\n")
        chmod(home.path + "/config/kvmscope/init", 0o666)
        let done = try run(
            Built.kvmscope, ["--batch", "-ex", "p 1", home.image], environment: home.environment)
        #expect(done.output == "$1 = 1  0x1\n")
        #expect(done.errors.contains("can be written by others"))
    }

    @Test func aSessionGoesOn() throws {
        let home = try Home()
        let file = home.path + "/saved"
        let first = try run(
            Built.kvmscope,
            [
                "--batch", "-m", "32M", "-ex", "break 0x7c08 if $ax == 0xaa55", "-ex", "display/x $ip", "-ex",
                "save session \(file)", home.image,
            ], environment: home.environment)
        #expect(first.status == 0, "\(first.errors)")
        let second = try run(
            Built.kvmscope, ["--session", file, "--batch", "-ex", "continue"], environment: home.environment)
        #expect(second.status == 0, "\(second.errors)")
        #expect(second.output.contains("Breakpoint 1."))
        #expect(second.output.contains("0x7c08"))
        let none = try run(
            Built.kvmscope, ["--session", home.image, "--batch"], environment: home.environment)
        #expect(none.status == 2)
        #expect(none.errors.contains("is no session of kvmscope"))
    }

    @Test(.enabled(if: Host.has("tmux"), "needs tmux"))
    func anImagesBreakpointsAreOffered() throws {
        let home = try Home()
        let terminal = try RealTerminal(columns: 100, rows: 30, environment: home.environment)
        try terminal.enter("\(Built.kvmscope) \(home.image)")
        try terminal.waitFor("(kvmscope)")
        for line in ["break 0x7c04", "break 0x7c08 if $ax == 0xaa55"] {
            try terminal.enter(line)
            try terminal.waitFor("Breakpoint")
        }
        try terminal.waitFor("Breakpoint 2")
        try terminal.enter("quit")
        try terminal.waitFor("ready>")

        // The next one says so, and sets nothing unasked.
        try terminal.enter("clear; \(Built.kvmscope) \(home.image)")
        try terminal.waitFor("2 breakpoints are kept")
        try terminal.enter("info breakpoints")
        try terminal.waitFor("No breakpoints.")
        try terminal.enter("kept")
        try terminal.waitFor("Breakpoint 2")
        try terminal.enter("quit")
        try terminal.waitFor("ready>")

        // Other bytes are another image.
        var sector = [UInt8](try Data(contentsOf: URL(filePath: home.image)))
        sector[1] = 0x40
        try Data(sector).write(to: URL(filePath: home.image))
        try terminal.enter("clear; \(Built.kvmscope) --no-tui \(home.image)")
        try terminal.enter("kept")
        try terminal.waitFor("no breakpoints are kept for this image")
        try terminal.enter("quit")
    }
}
