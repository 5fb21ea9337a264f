import DebugTarget
import Debugger
import Foundation
import Locking
import Synchronization
import Testing

@testable import Commands

/// `run`, `start`, `starti` and `kill`, and a guest that resets itself, without KVM.
@Suite struct RestartTests {
    /// After the end of the guest, with what was set kept.
    @Test func runsAgainAfterTheEnd() throws {
        let driver = try Driver()
        try driver.output("b 0x7c04")
        try driver.output("display $al")
        #expect(try driver.text("c")[0].hasPrefix("Breakpoint 1."))
        #expect(try driver.text("c")[0].hasPrefix("Halted"))
        try driver.output("set $rbx = 5")
        try driver.output("setpmem 0x9000 1 7")
        let again = try driver.text("run")
        #expect(again[0].hasPrefix("Breakpoint 1."), "\(again)")
        #expect(again.contains { $0.contains("$al") }, "\(again)")
        #expect(try driver.text("p $rbx").joined().contains("= 0"))
        #expect(driver.guest.ram.byte(0x9000) == 0)
        // The stops before are still there: the start, three stops, and the new start.
        #expect(driver.session.debugger.history.count == 5)
        let hits = driver.session.debugger.breakpoints.map(\.hits)
        #expect(hits == [2])
    }

    @Test func whatWasBuiltMeanwhileRuns() throws {
        let driver = try Driver()
        driver.guest.image.withLock { $0 = [0xB0, 0x49, 0xF4] }
        #expect(try driver.text("starti")[0] == "The guest has not run yet.")
        try driver.output("c")
        #expect(try driver.text("p $al").joined().contains("73"))
    }

    /// An image that is gone leaves the guest as it was, its breakpoints too.
    @Test func anImageThatIsGoneChangesNothing() throws {
        let driver = try Driver()
        try driver.output("b 0x7c04")
        try driver.output("s")
        driver.guest.image.withLock { $0 = nil }
        let error = try driver.failure("run")
        #expect(error.message.contains("starting the guest again"), "\(error.message)")
        #expect(try driver.text("p $pc").joined().contains("7c02"))
        #expect(driver.session.debugger.breakpoints.map(\.isEnabled) == [true])
        #expect(try driver.text("c")[0].hasPrefix("Breakpoint 1."))
    }

    @Test func aRunningGuestIsStoppedFirst() throws {
        let driver = try Driver([0x90, 0xEB, 0xFD])
        _ = try driver.session.execute("c &")
        #expect(driver.session.isRunning)
        #expect(try driver.text("starti")[0] == "The guest has not run yet.")
        #expect(!driver.session.isRunning)
    }

    @Test func startGoesToMain() throws {
        let folder = try TestFolder()
        let map = folder.path("boot.map").path
        try "7c00 T _start\n7c04 T kmain\n".write(toFile: map, atomically: true, encoding: .utf8)
        let driver = try Driver()
        #expect(try driver.text("start")[0] == "The guest has not run yet.")
        try driver.output("symbols \(map)")
        try driver.output("start")
        #expect(try driver.text("p $pc").joined().contains("7c04"))
        // It was a temporary breakpoint.
        #expect(driver.session.debugger.breakpoints.isEmpty)
    }

    @Test func killKeepsTheSession() throws {
        let driver = try Driver()
        try driver.output("s")
        #expect(try driver.text("kill")[0].hasPrefix("The guest was ended."))
        #expect(try driver.text("p $al").joined().contains("72"))
        for order in ["c", "s", "n"] {
            let error = try driver.failure(order)
            #expect(error.remedy?.contains("`run`") == true, "\(error)")
        }
        #expect(try driver.text("run")[0].hasPrefix("Halted"))
    }

    /// `mov al, 0xFE; out 0x64, al`.
    @Test(arguments: ["continue", "run", "step"])
    func aResetStopsFirst(_ order: String) throws {
        let driver = try Driver([0xB0, 0xFE, 0xE6, 0x64, 0xF4])
        let stop = try driver.text("c")
        #expect(
            stop[0].hasPrefix("The guest asked for a reset (0xfe to port 0x64, the keyboard controller)."),
            "\(stop)")
        driver.guest.image.withLock { $0 = [0xB0, 1, 0xF4] }
        try driver.output(order)
        #expect(try driver.text("p $al").joined().contains("= 1"))
        #expect(try driver.text("p $pc").joined().contains(order == "step" ? "7c02" : "7c03"))
    }

    @Test func aTripleFaultResetsWhereThatIsWished() throws {
        let driver = try Driver([0x0F, 0x0B])
        #expect(try driver.text("c")[0].hasPrefix("Triple fault"))
        #expect(try driver.failure("c").message.contains("dead"))
        try driver.output("set triple-fault reset")
        driver.guest.image.withLock { $0 = [0x90, 0xF4] }
        #expect(try driver.text("c")[0].hasPrefix("Halted"))
        try driver.output("set triple-fault stop")
        #expect(try driver.text("show triple-fault").joined().contains("end"))
    }

    @Test func steppingKeepsWhatLedToTheEnd() throws {
        let driver = try Driver([0xB0, 1, 0x90, 0x0F, 0x0B])
        #expect(try driver.text("run stepping")[0].hasPrefix("Triple fault"))
        #expect(try driver.text("info blackbox").contains { $0.contains("nop") })
    }

    @Test(arguments: ["run", "starti", "start", "kill", "set triple-fault reset", "run stepping"])
    func anotherProgramsGuestIsStartedThere(_ line: String) throws {
        let guest = FakeGuest([0x90, 0xF4])
        let driver = Driver(guest, try Debugger(target: ForeignGuest(guest)))
        let error = try driver.failure(line)
        #expect(error.message.contains("another program"), "\(error.message)")
    }

    @Test(arguments: [
        "run fast", "run stepping now", "starti 1", "kill 0", "set triple-fault", "set triple-fault maybe",
    ])
    func otherArgumentsAreRefused(_ line: String) throws { _ = try Driver().failure(line) }

    @Test func asJSON() throws {
        let driver = try Driver([0xB0, 0xFE, 0xE6, 0x64, 0xF4])
        #expect(try driver.json("run").contains(#""kind":"guestReset""#))
        #expect(try driver.json("kill").contains(#""kind":"killed""#))
        #expect(try driver.json("info image").contains(#""entry":"0x7c00""#))
    }
}
