import Foundation
import Testing

/// The exits of a stock QEMU's guest in the debugger: from the host, with no stop.
@Suite(
    .serialized, .enabled(if: Host.runsKVM && geteuid() == 0, "needs /dev/kvm and root"),
    .enabled(if: Host.has("qemu-system-x86_64"), "needs qemu-system-x86"))
struct AttachedExitsTests {
    @Test("on the screen: reasons, rates and times", .enabled(if: Host.has("tmux"), "needs tmux"))
    func onTheScreen() throws {
        let folder = try TemporaryFolder()
        let qemu = try WaitingQEMU("chatters", image: try kernelFile("chatter", in: folder), in: folder)
        try qemu.go()
        let terminal = try RealTerminal(columns: 130, rows: 44)
        try terminal.enter("\(Built.kvmscope) attach \(qemu.pid); echo status $?")
        try terminal.waitFor("(kvmscope)")
        // A row of the pane: reason, count, share, rate, average and maximum.
        let row = /IO +[0-9][0-9,.kM]* +[0-9.<]+%? +[0-9][0-9,.kM]* +[0-9.]+ ?[num]?s/
        let screen = try terminal.wait("exits of QEMU's guest") {
            $0.contains("no stop") && $0.contains(row)
        }
        #expect(screen.contains("running"))
        try terminal.enter("info exits")
        let told = try terminal.waitFor("On the host for ")
        #expect(told.contains("with no stop"))
        for shown in [screen, told] { #expect(!shown.contains("No exits") && !shown.contains("none yet")) }
        try terminal.enter("catch io 0x9999 out")
        try terminal.waitFor("Catchpoint 1 (io 0x9999 out)")
        try terminal.enter("info breakpoints")
        try terminal.waitFor("on the host, with no stop: 0 in ")
        try terminal.enter("quit")
        try terminal.waitFor("status 0")
    }

    @Test("as commands: the guest makes exits all the while")
    func asCommands() throws {
        let folder = try TemporaryFolder()
        let qemu = try WaitingQEMU("chattering", image: try kernelFile("chatter", in: folder), in: folder)
        try qemu.go()
        // Until the boot sector's own loop is there.
        let top = try Running(
            Built.kvmscope, ["top", "\(qemu.pid)", "--json", "-d", "0.2"], in: folder)
        try top.wait("the loop's reads of port 61h") { $0.contains("port 0x61 in") }
        top.interrupt()
        let done = try run(
            Built.kvmscope,
            [
                "attach", "\(qemu.pid)", "--batch", "-ex", "info exits", "-ex",
                "catch io 0x61 in if $al == 256",
                "-ex", "info exits", "-ex", "info breakpoints", "-ex", "delete 1", "-ex", "info exits",
            ])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("kvm_userspace_exit(IO)"))
        #expect(done.output.contains("port 0x61 in") && done.output.contains("port 0x80 out"))
        #expect(!done.output.contains("No exits") && !done.output.contains("none in that time"))
        let counted = try #require(
            done.output.firstMatch(of: /on the host, with no stop: ([0-9,]+) in/)?.output.1)
        #expect(UInt64(counted.filter { $0 != "," }) ?? 0 > 100)
    }
}
