import Foundation
import Testing

/// GDB and LLDB as Debian has them, at guests of ours and of others; each session is a script beside this file.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct RemoteTests {
    private static let scripts = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "RemoteScripts")

    private func script(_ name: String) -> String { Self.scripts.appending(path: name).path }

    /// The lines stand in the output in this order, as parts of its lines.
    private func expect(_ output: String, has file: String) throws {
        var rest = output[...]
        for line in try String(contentsOfFile: script(file), encoding: .utf8).split(separator: "\n") {
            guard let found = rest.firstRange(of: line) else {
                Issue.record("\"\(line)\" does not come in:\n\(output)")
                return
            }
            rest = rest[found.upperBound...]
        }
    }

    /// What GDB says where something is wrong with a stub.
    private func expectNoComplaint(_ output: String) {
        for words in [
            "too long", "Remote failure", "Protocol error", "Error", "error:", "Cannot ", "Could not insert",
            "Truncated", "malformed", "Ignoring packet", "Invalid register", "Remote connection closed",
        ] {
            #expect(!output.contains(words), "\(words) in:\n\(output)")
        }
    }

    private func gdb(
        _ program: String, _ target: String, _ name: String, by kind: String = "remote"
    ) throws -> String {
        let done = try run(
            program, ["-nx", "-batch", "-ex", "target \(kind) | \(target)", "-x", script(name)], seconds: 300)
        #expect(done.status == 0)
        return done.output + done.errors
    }

    @Test(
        "GDB goes through 16-, 32- and 64-bit code, with nothing set",
        .enabled(if: Host.has("gdb"), "needs gdb"))
    func gdbGoesThroughTheModes() throws { try modes("gdb") }

    @Test(
        "and so does gdb-multiarch",
        .enabled(if: Host.has("gdb-multiarch"), "needs gdb-multiarch"))
    func multiarchGoesThroughTheModes() throws { try modes("gdb-multiarch") }

    private func modes(_ program: String) throws {
        let output = try gdb(program, "\(Built.kvmscope) --example boot --gdb stdio", "boot.gdb")
        try expect(output, has: "boot.expected")
        expectNoComplaint(output)
    }

    @Test("GDB starts the guest again", .enabled(if: Host.has("gdb"), "needs gdb"))
    func startedAgain() throws {
        let output = try gdb(
            "gdb", "\(Built.kvmscope) --example boot --gdb stdio", "again.gdb", by: "extended-remote")
        try expect(output, has: "again.expected")
        expectNoComplaint(output)
    }

    /// A server of ours in the background, and where it listens.
    private final class Server {
        let process: Process
        let folder: TemporaryFolder
        var errors: String {
            (try? String(contentsOf: folder.url.appending(path: "err"), encoding: .utf8)) ?? ""
        }

        init(_ arguments: [String]) throws {
            folder = try TemporaryFolder()
            process = Process(of: Built.kvmscope, arguments)
            let path = folder.url.appending(path: "err")
            _ = FileManager.default.createFile(atPath: path.path, contents: nil)
            process.standardError = try FileHandle(forWritingTo: path)
            process.standardOutput = FileHandle.nullDevice
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }

        func wait(for text: String) throws {
            let end = Date(timeIntervalSinceNow: 60)
            while !errors.contains(text) {
                try #require(process.isRunning && Date() < end, "\"\(text)\" does not come: \(errors)")
                usleep(5_000)
            }
        }

        func port() throws -> String {
            try wait(for: "Waiting for")
            let text = errors
            let start = try #require(text.firstRange(of: "127.0.0.1:"))
            return String(text[start.upperBound...].prefix { $0.isNumber })
        }
    }

    @Test(
        "LLDB goes through 16-, 32- and 64-bit code, with nothing set",
        .enabled(if: Host.has("lldb-16"), "needs lldb-16"))
    func lldb() throws {
        let server = try Server(["--example", "boot", "--gdb", "127.0.0.1:0"])
        let done = try run(
            "lldb-16",
            ["--no-lldbinit", "--batch", "-o", "gdb-remote \(try server.port())", "-s", script("boot.lldb")],
            seconds: 300)
        try expect(done.output, has: "boot-lldb.expected")
        #expect(!(done.output + done.errors).contains("error:"), "\(done.output)\(done.errors)")
        try server.wait(for: "has gone")
        // It waits for the next one.
        #expect(server.process.isRunning)
        kill(server.process.processIdentifier, SIGTERM)
        server.process.wait(seconds: 30)
        #expect(server.process.terminationStatus == 128 + SIGTERM)
    }

    @Test(
        "GDB at a QEMU that was started without -gdb, which goes on afterwards",
        .enabled(if: Host.has("gdb", "qemu-system-x86_64"), "needs gdb and qemu-system-x86_64"))
    func attached() throws {
        let qemu = Process(
            of: try #require(Host.path(of: "qemu-system-x86_64")),
            [
                "-accel", "kvm", "-display", "none", "-serial", "none", "-parallel", "none", "-monitor",
                "none",
                "-m", "64",
            ])
        qemu.standardError = FileHandle.nullDevice
        try qemu.run()
        defer {
            kill(qemu.processIdentifier, SIGKILL)
            qemu.waitUntilExit()
        }
        let output = try gdb(
            "gdb", "\(Built.kvmscope) attach \(qemu.processIdentifier) --wait 60 --gdb stdio", "attached.gdb")
        #expect(output.contains("vCPU 0 ["))
        #expect(output.contains("=> 0x"))
        #expect(output.contains("cs_limit"))
        #expect(output.contains("[Inferior 1 (Remote target) detached]"), "\(output)")
        expectNoComplaint(output)
        // Nobody traces it any more.
        let end = Date(timeIntervalSinceNow: 30)
        let tasks = "/proc/\(qemu.processIdentifier)/task"
        func isTraced() throws -> Bool {
            try FileManager.default.contentsOfDirectory(atPath: tasks).contains { task in
                let status = try? String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
                return status.map { !$0.contains("TracerPid:\t0\n") } ?? false
            }
        }
        while try isTraced() {
            try #require(Date() < end, "QEMU is still traced")
            usleep(10_000)
        }
        #expect(qemu.isRunning)
    }

    @Test(
        "GDB at a kernel of C, with its types and lines",
        .enabled(if: Host.has("gdb", "clang"), "needs gdb and clang"))
    func kernel() throws {
        let folder = try TemporaryFolder()
        let path = try CKernel.build(in: folder)
        let done = try run(
            "gdb",
            [
                "-nx", "-batch", "-ex", "file \(path)",
                "-ex", "target remote | \(Built.kvmscope) \(path) --gdb stdio", "-x", script("kernel.gdb"),
            ], seconds: 300)
        #expect(done.status == 0)
        try expect(done.output, has: "kernel.expected")
        // kvmscope has the symbols of the program that it was started with, too.
        #expect(
            done.errors.contains("schedule+0x") && done.errors.contains("kernel_main+0x"), "\(done.errors)")
        expectNoComplaint(done.output + done.errors)
    }

    @Test(
        "GDB at a QEMU that kvmscope starts",
        .enabled(if: Host.has("gdb", "qemu-system-x86_64"), "needs gdb and qemu-system-x86_64"))
    func launched() throws {
        let name = "launched-\(UUID().uuidString)"
        let output = try gdb(
            "gdb",
            "\(Built.kvmscope) launch --gdb stdio -- qemu-system-x86_64 -accel kvm -display none -serial none "
                + "-parallel none -monitor none -m 64 -name \(name)", "launched.gdb")
        #expect(output.contains("=> 0xfffffff0:"), "\(output)")
        #expect(output.contains("vCPU 0 ["))
        #expect(output.contains("[Inferior 1 (Remote target) killed]"), "\(output)")
        expectNoComplaint(output)
        // It has ended with the session.
        let end = Date(timeIntervalSinceNow: 30)
        while try Processes.arguments().contains(where: { $0.contains(name) }) {
            try #require(Date() < end, "QEMU still runs")
            usleep(10_000)
        }
    }

    @Test(
        "the screen and GDB on one guest: a stop is shown in both",
        .enabled(if: Host.has("tmux", "gdb"), "needs tmux and gdb"))
    func besideTheScreen() throws {
        let terminal = try RealTerminal(columns: 120, rows: 40)
        let socket = terminal.folder.url.appending(path: "gdb").path
        try terminal.enter("\(Built.kvmscope) --example boot --gdb unix:\(socket)")
        try terminal.waitFor("0000:7c00")
        let done = try run(
            "gdb",
            [
                "-nx", "-batch", "-ex", "target remote \(socket)", "-ex", "break *0x7cd4", "-ex", "continue",
                "-ex", "x/i $pc", "-ex", "monitor set $rbx = 0xabcdef", "-ex", "disconnect",
            ], seconds: 120)
        #expect(done.output.contains("=> 0x7cd4:"))
        expectNoComplaint(done.output + done.errors)
        // Stopped where GDB stopped it; the breakpoint has gone with the client.
        let screen = try terminal.waitFor("has gone")
        #expect(screen.contains("0018:0000000000007cd4") || screen.contains("7cd4"))
        try terminal.wait("the register that GDB's user set") { $0.contains("abcdef") }
        try terminal.enter("info breakpoints")
        try terminal.waitFor("o breakpoints")
        try terminal.enter("quit")
        try terminal.waitFor("ready>")
    }

    @Test func addressesThatCannotBeServed() throws {
        for (address, words) in [
            ("nonsense", "is no address"), ("unix:/nowhere/x", "cannot listen"), (":99999", "is no address"),
        ] {
            let done = try run(Built.kvmscope, ["--example", "boot", "--gdb", address])
            #expect(done.status == 2)
            #expect(done.errors.contains(words), "\(done.errors)")
        }
    }
}
