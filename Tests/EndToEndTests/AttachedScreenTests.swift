import Foundation
import Testing

/// The screen on another program's guest, however it ends.
@Suite(
    .serialized,
    .enabled(if: Host.runsKVM, "needs /dev/kvm"),
    .enabled(if: Host.has("tmux"), "needs tmux"))
struct AttachedScreenTests {
    /// The small VMM of the tests, which checks its guest's sums; ended with its last reference.
    private final class Guest {
        let process = Process()
        let folder: TemporaryFolder
        private var log: URL { folder.url.appending(path: "log") }

        init() throws {
            folder = try TemporaryFolder()
            process.executableURL = Built.directory.appending(path: "TinyVMM")
            process.arguments = [log.path, "2", "filter", "kick"]
            try process.run()
            let end = Date(timeIntervalSinceNow: 20)
            while (try? words())?.first != 2 {
                try #require(process.isRunning && Date() < end, "TinyVMM does not start")
                usleep(1000)
            }
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }

        private func words() throws -> [UInt64] {
            let bytes = [UInt8](try Data(contentsOf: log))
            return bytes.withUnsafeBytes { raw in
                (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
            }
        }

        /// The guest's code, as it is in the VMM.
        func code() throws -> Data {
            let memory = try FileHandle(
                forReadingFrom: URL(filePath: "/proc/\(process.processIdentifier)/mem"))
            try memory.seek(toOffset: try words()[3] + 0x1000)
            return try #require(try memory.read(upToCount: 0x36))
        }

        /// Three more rounds of right sums on each vCPU, no exit that is not the guest's own, and no tracer.
        func expectGoesOn() throws {
            let task = "/proc/\(process.processIdentifier)/task"
            let end = Date(timeIntervalSinceNow: 20)
            for vcpu in 0..<2 {
                func word(_ place: Int) throws -> UInt64 { try words()[13 + vcpu * 14 + place] }
                let status = "\(task)/\(try word(0))/status"
                while try !String(contentsOfFile: status, encoding: .utf8).contains("TracerPid:\t0\n") {
                    try #require(Date() < end, "vCPU \(vcpu) is still traced")
                    usleep(1000)
                }
                let rounds = try word(7)
                while try word(7) < rounds + 3 {
                    try #require(process.isRunning && Date() < end, "vCPU \(vcpu) does not go on")
                    usleep(1000)
                }
                #expect(try word(4) == 0 && word(5) == 0 && word(8) == 0)
                #expect(try word(13) == 0)
            }
        }
    }

    @Test(
        "ended by a signal or with its terminal while patches stand: all is put back, the terminal too",
        arguments: [SIGTERM, SIGHUP, SIGQUIT, nil] as [Int32?], [true, false])
    func ended(number: Int32?, runs: Bool) throws {
        let guest = try Guest()
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
