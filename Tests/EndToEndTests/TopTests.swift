import Foundation
import Testing

/// `kvmscope top`, as it is built, on a VMM of the tests' own.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct TopTests {
    @Test func oneIntervalAsJSON() throws {
        let guest = try TinyGuest([])
        let done = try run(Built.kvmscope, ["top", "\(guest.pid)", "--once", "--json"])
        #expect(done.status == 0, "\(done.errors)")
        let lines = done.output.split(separator: "\n")
        #expect(lines.count == 1)
        let record = try #require(
            try JSONSerialization.jsonObject(with: Data(done.output.utf8)) as? [String: Any])
        let result = try #require(record["result"] as? [String: Any])
        #expect(["BPF", "perf"].contains(result["source"] as? String))
        let guests = try #require(result["guests"] as? [[String: Any]])
        #expect(guests.map { $0["process"] as? Int32 } == [guest.pid])
        #expect(try #require(guests[0]["exitsPerSecond"] as? Double) > 0)
        #expect((guests[0]["vcpus"] as? [[String: Any]])?.count == 2)
        let reasons = try #require(guests[0]["reasons"] as? [[String: Any]])
        #expect(reasons.contains { ["IO", "io", "IO_INSTRUCTION"].contains($0["exit"] as? String) })
        #expect(
            (guests[0]["details"] as? [[String: Any]])?.contains { $0["name"] as? String == "port 0x10 out" }
                == true)
    }

    @Test func everyForm() throws {
        let guest = try TinyGuest([])
        let pid = "\(guest.pid)"
        let text = try run(Built.kvmscope, ["top", pid, "--once"])
        #expect(text.output.contains("source ") && text.output.contains("TinyVMM"))
        #expect(text.output.contains("kvm_userspace_exit(IO)"))
        let csv = try run(Built.kvmscope, ["top", pid, "--csv", "-n", "2", "-d", "0.2"])
        let rows = csv.output.split(separator: "\n").map { $0.split(separator: ",") }
        #expect(rows.count == 3)
        #expect(rows[0][0] == "timestamp")
        #expect(rows.allSatisfy { $0.count == rows[0].count })
        let filtered = try run(Built.kvmscope, ["top", pid, "--csv", "--once", "-f", "userspace_exit.IO"])
        #expect(filtered.output.hasPrefix("timestamp,kvm_userspace_exit(IO)\n"))
        let metrics = try run(Built.kvmscope, ["top", pid, "--openmetrics", "--once"])
        #expect(metrics.output.hasSuffix("\n# EOF\n"))
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "kvmscope.prom")
        let written = try run(Built.kvmscope, ["top", pid, "--prometheus", file.path, "--once"])
        #expect(written.status == 0 && written.output.isEmpty, "\(written.errors)")
        #expect(
            try String(contentsOf: file, encoding: .utf8).contains("kvmscope_exits_total{guest=\"TinyVMM\""))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["kvmscope.prom"])
    }

    @Test func withoutExitsTheyAreADash() throws {
        let guest = try TinyGuest([])
        let done = try run(Built.kvmscope, ["top", "\(guest.pid)", "--once", "--source", "proc"])
        #expect(done.status == 0)
        #expect(done.output.contains("source /proc"))
        #expect(done.output.contains("no exits at all"))
        #expect(done.output.contains("exits: - (see above)"))
    }

    @Test(
        arguments: [
            (["--bogus"], 64, "--bogus"), (["--delay", "0"], 64, "--delay"),
            (["--once", "-n", "3"], 64, "--once"),
            (["--csv", "--json"], 64, "give one of"), (["--filter", "("], 64, "--filter"),
            (["-p", "1", "2"], 64, "give the guest once"), (["-p", "none", "--once"], 2, "none"),
            (["--source", "magic"], 64, "--source"), (["\u{1B}[31mnone", "--once"], 2, "\\x1b[31mnone"),
            (["--once", "--source", "proc", "--prometheus", "/nowhere/x"], 2, "cannot write /nowhere/x"),
        ] as [([String], Int32, String)])
    func whatCannotBeDone(_ arguments: [String], _ status: Int32, _ says: String) throws {
        let done = try run(Built.kvmscope, ["top"] + arguments)
        #expect(done.status == status)
        #expect(done.errors.contains(says), "\(done.errors)")
        #expect(!done.errors.contains("\u{1B}"))
    }

    @Test(.enabled(if: Host.has("tmux"), "needs tmux"))
    func theScreen() throws {
        let guest = try TinyGuest([])
        let terminal = try RealTerminal(columns: 80, rows: 24)
        try terminal.enter("\(Built.kvmscope) top \(guest.pid); echo status $?")
        try terminal.waitFor("source ")
        try terminal.waitFor("TinyVMM (\(guest.pid))")
        // vCPU, then its reasons, then the ports.
        try terminal.press("Enter")
        try terminal.waitFor("to user: IO")
        try terminal.press("x")
        try terminal.waitFor("port 0x10 out")
        try terminal.press("Space")
        try terminal.waitFor("FROZEN")
        try terminal.press("h")
        try terminal.waitFor("Columns")
        try terminal.press("Escape")
        try terminal.resize(columns: 120, rows: 40)
        try terminal.waitFor("FROZEN")
        try terminal.press("q")
        try terminal.waitFor("status 0")
    }
}
