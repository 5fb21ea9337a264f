import DebugTarget
import Foundation
import Locking
import TargetConformance
import Testing
import X86

@testable import Machine

/// Keys, screen, clocks and the start.
extension BIOSTests {
    // MARK: keys

    private func press(_ text: String) {
        var keys = KeyTranslation()
        let view = BIOSMemory(memory, SpecialRegisters(), isA20On: true)
        for byte in text.utf8 { for code in KeyStrokes.codes(for: byte) ?? [] { keys.take(code, view) } }
    }

    @Test func keysWaitAndAreTaken() throws {
        let waiting = try call(0x16) { $0.rax = 0 }
        #expect(waiting.ending == .waits(halting: true))
        #expect(waiting.general.rip == UInt64(BIOSROM.stub(0x16) + BIOSROM.Place.halting))
        try call(0x16) { $0.rax = 0x0100 }
        #expect(flags & 0x40 != 0)
        press("aB\r\u{1B}")
        let look = try call(0x16) { $0.rax = 0x0100 }
        #expect(flags & 0x40 == 0 && look.general.rax == 0x1E61)
        let taken = try (0..<4).map { _ in try call(0x16) { $0.rax = 0 }.general.rax }
        #expect(taken == [0x1E61, 0x3042, 0x1C0D, 0x011B])
        try call(0x16) { $0.rax = 0x0100 }
        #expect(flags & 0x40 != 0)
    }

    @Test(arguments: Array(UInt8(0x20)..<0x7F))
    func everyCharacterHasAKey(_ byte: UInt8) throws {
        press(String(Character(Unicode.Scalar(byte))))
        #expect(try call(0x16) { $0.rax = 0 }.general.rax & 0xFF == UInt64(byte))
        #expect(try call(0x16) { $0.rax = 0x0200 }.general.rax & 0xF == 0, "no shift is left pressed")
    }

    @Test(
        arguments: [
            ("up", 0x48E0, 0x4800), ("f1", 0x3B00, 0x3B00), ("f12", 0x8600, nil), ("delete", 0x53E0, 0x5300),
        ]
            as [(String, UInt64, UInt64?)])
    func namedKeys(name: String, enhanced: UInt64, old: UInt64?) throws {
        let view = BIOSMemory(memory, SpecialRegisters(), isA20On: true)
        var keys = KeyTranslation()
        let codes = try #require(KeyStrokes.codes(named: name))
        for code in codes { keys.take(code, view) }
        #expect(try call(0x16) { $0.rax = 0x1000 }.general.rax == enhanced)
        for code in codes { keys.take(code, view) }
        let result = try call(0x16) { $0.rax = 0 }
        if let old { #expect(result.general.rax == old) } else { #expect(result.ending != .returns) }
    }

    @Test func aProgramWithInterruptsOffGetsItsKeys() throws {
        #expect(chips.keyboard.type(try #require(KeyStrokes.codes(for: 0x71))))
        let result = try call(0x16, flags: 0x0002) { $0.rax = 0x0100 }
        #expect(flags & 0x40 == 0 && result.general.rax == 0x1071)
        #expect(flags & 0x200 == 0)
    }

    @Test func hostileKeyPointersAreHeldInBounds() throws {
        for values: [UInt8] in [[0xFF, 0xFF, 0xFF, 0xFF], [0x1F, 0, 0x3F, 0], [0, 0, 0, 0]] {
            memory.store(values, at: 0x41A)
            memory.store(values, at: 0x480)
            press("xyz")
            _ = try call(0x16) { $0.rax = 0x0100 }
        }
    }

    // MARK: the screen

    private var text: ScreenContents? { ScreenContents(reading: memory, screen) }
    private func line(_ row: Int) -> String {
        let cells = text?.row(row) ?? []
        return String(cells.map { CodePage437.character($0.character) }).trimmingCharacters(in: .whitespaces)
    }

    @Test func teletypeMovesTheCursorAndScrolls() throws {
        for byte in "Hi\r\nthere".utf8 { try call(0x10) { $0.rax = 0x0E00 | UInt64(byte) } }
        #expect(line(0) == "Hi" && line(1) == "there")
        #expect(text?.cursor == 85)
        #expect(try call(0x10) { $0.rax = 0x0300 }.general.rdx == 0x0105)
        for _ in 0..<24 { try call(0x10) { $0.rax = 0x0E0A } }
        #expect(line(0) == "there")
        #expect(text?.cursor == 24 * 80 + 5)
    }

    @Test func stringsCharactersAndWindows() throws {
        memory.store(Array("abc".utf8), at: 0x600)
        try call(0x10) {
            $0.rax = 0x1301
            $0.rbx = 0x001F
            $0.rcx = 3
            $0.rdx = 0x020A
            $0.rbp = 0x600
        }
        #expect(text?.row(2)[2 * 80 + 10] == .init(character: 0x61, attribute: 0x1F))
        #expect(text?.cursor == 2 * 80 + 13)
        try call(0x10) {
            $0.rax = 0x09DB
            $0.rbx = 0x0004
            $0.rcx = 0xFFFF
        }
        #expect(text?.row(24).last == .init(character: 0xDB, attribute: 0x04))
        #expect(try call(0x10) { $0.rax = 0x0800 }.general.rax == 0x04DB)
        try call(0x10) {
            $0.rax = 0x0600
            $0.rbx = 0x7000
            $0.rcx = 0x0000
            $0.rdx = 0xFFFF
        }
        #expect(text?.cells.allSatisfy { $0 == .init(character: 0x20, attribute: 0x70) } == true)
    }

    @Test func modesAndRows() throws {
        #expect(try call(0x10) { $0.rax = 0x0F00 }.general.rax == 0x5003)
        try call(0x10) { $0.rax = 0x1112 }
        #expect(text?.rows == 50)
        try call(0x10) { $0.rax = 0x0001 }
        #expect(text?.columns == 40 && text?.rows == 25)
        let none = try call(0x10) { $0.rax = 0x0014 }
        #expect(none.call?.isKnown == false)
        #expect(try call(0x10) { $0.rax = 0x4F00 }.general.rax & 0xFF != 0x4F)
    }

    @Test func hostileScreenSizesAreHeldInBounds() throws {
        memory.store([0xFF, 0xFF, 0xFF, 0xFF], at: BIOSData.columns)
        memory.store([0xFF], at: BIOSData.lastRow)
        memory.store([UInt8](repeating: 0xFF, count: 16), at: BIOSData.cursors)
        for function: UInt64 in 0...0x1C {
            try call(0x10) {
                $0.rax = function << 8 | 0x41
                $0.rbx = 0xFF
                $0.rcx = 0xFFFF
                $0.rdx = 0xFFFF
            }
        }
        #expect(text != nil)
    }

    // MARK: time and the rest

    @Test func clocks() throws {
        let time = try call(0x1A) { $0.rax = 0x0200 }
        #expect(time.general.rcx == 0x2213 && time.general.rdx >> 8 == 0x20)
        let date = try call(0x1A) { $0.rax = 0x0400 }
        #expect(date.general.rcx == 0x2023 && date.general.rdx == 0x1114)
        try call(0x1A) {
            $0.rax = 0x0300
            $0.rcx = 0x0102
            $0.rdx = 0x0300
        }
        #expect(chips.realTimeClock.time.hour == 1)
        let ticks = try call(0x1A) { $0.rax = 0 }
        // An hour of 1573040 / 24.
        #expect(ticks.general.rcx << 16 | ticks.general.rdx == 65543)
        try call(0x1A) { $0.rax = 0xB101 }
        #expect(carry)
    }

    @Test func serialPort() throws {
        try call(0x14) { $0.rax = 0x0141 }
        #expect(console.output.bytes == [0x41])
        #expect(ah(try call(0x14) { $0.rax = 0x0200 }) & 0x80 != 0)
        #expect(
            ah(
                try call(0x14) {
                    $0.rax = 0x0300
                    $0.rdx = 3
                }) == 0x80)
    }

    @Test func bootLoadsTheFirstDrivesSector() throws {
        let result = try call(0x19) { _ in }
        #expect(result.ending == .jumps && result.general.rip == 0x7C00)
        #expect(result.general.rdx == 0 && result.special.cs.selector == 0)
        #expect(bytes(0x7C00, 2) == [0x5A, 0x5A])
        #expect(result.special.es.selector == 0xF000)
    }

    @Test func callsAreKept() throws {
        try call(0x13) {
            $0.rax = 0x0000
            $0.rdx = 0x80
        }
        let kept = try #require(bios.log.recent(1).first)
        #expect(kept.vector == 0x13 && kept.callerSegment == 0x1000 && kept.callerOffset == 0x0102)
        #expect(kept.outcome == .returned(carry: false, zero: nil))
        bios.log.reset()
        #expect(bios.log.total == 0)
    }
}
