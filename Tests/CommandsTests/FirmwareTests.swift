import DebugTarget
import Debugger
import Locking
import Testing

@testable import Commands

struct FirmwareTests {
    private func driver(keyboard: Bool = false) throws -> (Driver, FakeGuest) {
        let guest = FakeGuest([0x90, 0xEB, 0xFE])
        if keyboard { guest.keyboard.withLock { $0 = [] } }
        return (Driver(guest, try Debugger(target: guest)), guest)
    }

    private func text(_ output: any CommandOutput) -> [String] {
        output.lines(width: 100).map(\.text)
    }

    @Test func callsAreSaidWithTheirMeaning() throws {
        let (driver, _) = try driver()
        let lines = text(try driver.output("info bios 5"))
        #expect(lines.contains { $0.contains("extended read") })
        #expect(
            lines.contains {
                $0.contains("INT 13h AH=42h: extended read, drive 80h, LBA 1, 4 sectors -> 0800:0000, ok")
            })
        #expect(lines.contains { $0.contains("INT 13h AH=77h: not there, called 1 time") })
        #expect(text(try driver.output("info bios")).allSatisfy { !$0.contains("LBA") })
    }

    @Test(
        arguments: [
            ("catch bios 13", "bios 13"), ("catch bios 0x13 ah=42", "bios 13 ah=42"), ("catch bios", "bios"),
            ("catch bios 15h AH=0xE8 if $dl == 1", "bios 15 ah=e8"),
        ])
    func catchpointsTakeHexadecimal(line: String, shown: String) throws {
        let (driver, _) = try driver()
        #expect(text(try driver.output(line)).joined().contains(shown))
    }

    @Test(arguments: [
        "catch bios 100", "catch bios x", "catch bios 13 14", "catch bios ah=1 ah=2", "catch bios +1",
    ])
    func badCatchpoints(_ line: String) throws {
        let (driver, _) = try driver()
        #expect(throws: CommandError.self) { try driver.output(line) }
    }

    @Test func drivesAreListedAndSaved() throws {
        let (driver, guest) = try driver()
        #expect(text(try driver.output("info disks")).last?.contains("boot.img") == true)
        try driver.output("disk save 0x80 there.img")
        #expect(guest.saved.withLock { $0.map(\.1) } == ["there.img"])
        #expect(throws: CommandError.self) { try driver.output("disk save 0x81 there.img") }
        #expect(throws: CommandError.self) { try driver.output("disk save 0x80") }
    }

    @Test func theScreenIsText() throws {
        let (driver, _) = try driver()
        let lines = text(try driver.output("info screen"))
        #expect(lines[0] == "Hi☺")
        #expect(lines[1].contains("3x1") && lines[1].contains("column 2"))
    }

    @Test func keysAreTyped() throws {
        let (driver, guest) = try driver(keyboard: true)
        try driver.output("type --keys a{enter}{{{Up}")
        #expect(
            guest.keyboard.withLock { $0 } == [.byte(0x61), .named("enter"), .byte(0x7B), .named("up")])
        try driver.output("type \"b \\r\"")
        #expect(guest.keyboard.withLock { $0?.suffix(3) } == [.byte(0x62), .byte(0x20), .byte(0x0D)])
    }

    @Test(arguments: ["type --keys {nokey}", "type --keys {enter", "type --keys ä", "type --keys"])
    func badKeys(_ line: String) throws {
        let (driver, _) = try driver(keyboard: true)
        #expect(throws: CommandError.self) { try driver.output(line) }
    }

    @Test func withoutAKeyboardTextGoesToTheSerialPort() throws {
        let (driver, guest) = try driver()
        #expect(throws: CommandError.self) { try driver.output("type --keys a") }
        _ = try driver.output("type hello")
        #expect(guest.keyboard.withLock { $0 } == nil)
    }
}
