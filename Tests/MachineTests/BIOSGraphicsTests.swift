import DebugTarget
import Foundation
import TargetConformance
import Testing
import X86

@testable import Machine

/// Graphics modes and fonts.
extension BIOSTests {
    private var shown: ScreenContents? { ScreenContents(reading: memory, screen) }

    @Test(
        arguments: [
            (0x04, 40, 25, 320, 200, 4, true), (0x05, 40, 25, 320, 200, 4, true),
            (0x06, 80, 25, 640, 200, 2, true), (0x0D, 40, 25, 320, 200, 16, false),
            (0x0E, 80, 25, 640, 200, 16, false), (0x0F, 80, 25, 640, 350, 2, false),
            (0x10, 80, 25, 640, 350, 16, false), (0x11, 80, 30, 640, 480, 2, false),
            (0x12, 80, 30, 640, 480, 16, false), (0x13, 40, 25, 320, 200, 256, true),
        ] as [(UInt64, UInt64, UInt64, Int, Int, Int, Bool)])
    func graphicsModes(
        mode: UInt64, columns: UInt64, rows: UInt64, width: Int, height: Int, colors: Int, isDrawn: Bool
    ) throws {
        let set = try call(0x10) { $0.rax = mode }
        #expect(set.call?.isKnown == true)
        #expect(memory.word(0x449, size: 1) == mode)
        #expect(memory.word(0x44A, size: 2) == columns)
        #expect(memory.word(0x484, size: 1) == rows - 1)
        #expect(try call(0x10) { $0.rax = 0x0F00 }.general.rax == columns << 8 | mode)
        #expect(
            shown?.graphics
                == .init(mode: UInt8(mode), width: width, height: height, colors: colors, isDrawn: isDrawn))
        #expect(shown?.cells.isEmpty == true)
        // Dots that this machine cannot keep apart are told as not there.
        for function: UInt64 in [0x0C01, 0x0D00, 0x0E41, 0x0941, 0x1300] {
            #expect(try call(0x10) { $0.rax = function }.call?.isKnown == isDrawn)
        }
        try call(0x10) { $0.rax = 3 }
        #expect(shown?.graphics == nil && shown?.cells.count == 2000)
    }

    @Test(
        arguments: [
            // A byte; two bits of an odd line; one bit.
            (0x13, 7, 3, 0x5A, 0xA0000 + 3 * 320 + 7, 0x5A),
            (0x04, 6, 3, 0x02, 0xB8000 + 0x2000 + 80 + 1, 0x08),
            (0x06, 9, 4, 0x01, 0xB8000 + 160 + 1, 0x40),
        ] as [(UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)])
    func dotsLieWhereAVGAHasThem(
        mode: UInt64, x: UInt64, y: UInt64, color: UInt64, address: UInt64, byte: UInt64
    ) throws {
        try call(0x10) { $0.rax = mode }
        func dot(_ function: UInt64, _ x: UInt64, _ y: UInt64) throws -> UInt64 {
            try call(0x10) {
                $0.rax = function
                $0.rcx = x
                $0.rdx = y
            }.general.rax & 0xFF
        }
        _ = try dot(0x0C00 | color, x, y)
        #expect(memory.word(address, size: 1) == byte)
        #expect(try dot(0x0D00, x, y) == color)
        if mode != 0x13 {
            // Twice by XOR is as before.
            _ = try dot(0x0C80 | color, x, y)
            #expect(try dot(0x0D00, x, y) == 0)
        }
        // Outside there is nothing, and nothing is written.
        let before = bytes(0xA0000, 0x20000)
        for (x, y) in [(640, 0), (0, 480), (0xFFFF, 0xFFFF), (0, 200)] as [(UInt64, UInt64)] {
            _ = try dot(0x0C01, x, y)
            #expect(try dot(0x0D00, x, y) == 0)
        }
        #expect(bytes(0xA0000, 0x20000) == before)
    }

    @Test(arguments: [0x13, 0x04, 0x06] as [UInt64])
    func charactersAreDrawnByTheFont(mode: UInt64) throws {
        try call(0x10) { $0.rax = mode }
        try call(0x10) {
            $0.rax = 0x0200
            $0.rdx = 0x0203
        }
        try call(0x10) {
            $0.rax = 0x0E41
            $0.rbx = 1
        }
        #expect(try call(0x10) { $0.rax = 0x0300 }.general.rdx == 0x0204)
        let glyph = CharacterSet.font(height: 8)[0x41 * 8..<0x42 * 8]
        let drawn = try (0..<UInt64(8)).map { y in
            try (0..<UInt64(8)).reduce(UInt8(0)) { bits, x in
                let dot =
                    try call(0x10) {
                        $0.rax = 0x0D00
                        $0.rcx = 3 * 8 + x
                        $0.rdx = 2 * 8 + y
                    }.general.rax & 0xFF
                return bits << 1 | UInt8(dot)
            }
        }
        #expect(drawn == Array(glyph))
        // Up by two rows: the letter is in the first one; then all is filled.
        try call(0x10) {
            $0.rax = 0x0602
            $0.rdx = 0x184F
        }
        let top = try call(0x10) {
            $0.rax = 0x0D00
            $0.rcx = 3 * 8 + 3
            $0.rdx = 1
        }
        #expect(top.general.rax & 0xFF == UInt64(glyph[glyph.startIndex + 1] >> 4 & 1))
        try call(0x10) {
            $0.rax = 0x0600
            $0.rbx = 0x0100
            $0.rdx = 0x184F
        }
        #expect(
            try call(0x10) {
                $0.rax = 0x0D00
                $0.rcx = 100
                $0.rdx = 199
            }.general.rax & 0xFF == 1)
    }

    /// The guest may have pointed INT 43h anywhere, and the data area may say anything.
    @Test func hostileFontsAndSizes() throws {
        try call(0x10) { $0.rax = 0x0013 }
        memory.store([0xFF, 0xFF, 0xFF, 0xFF], at: 0x43 * 4)
        // The whole of what it says, and a window below and beside what the mode has.
        let windows: [(UInt64, UInt64)] = [(0xFFFF, 0xFFFF), (0x3000, 0x3B4F), (0x0064, 0x187F), (0, 0xFFFF)]
        for (cx, dx) in windows {
            for function: UInt64 in [0x0E41, 0x09FF, 0x0600, 0x0702, 0x0601, 0x1301, 0x0500] {
                memory.store([0xFF, 0xFF, 0xFF], at: 0x484)
                memory.store([0x84, 0x00, 0xFF, 0xFF, 0xFF, 0xFF], at: 0x44A)
                try call(0x10) {
                    $0.rax = function
                    $0.rcx = cx
                    $0.rdx = dx
                }
            }
        }
        // Nothing beyond the mode's dots is touched.
        #expect(bytes(0xAFA00, 0x600).allSatisfy { $0 == 0 })
    }

    @Test func fontsAreInTheROM() throws {
        func place(_ which: UInt64) throws -> (UInt64, UInt64) {
            let result = try call(0x10) {
                $0.rax = 0x1130
                $0.rbx = which << 8
            }
            #expect(result.general.rcx == 16 && result.general.rdx & 0xFF == 24)
            return (result.special.es.base + (result.general.rbp & 0xFFFF), result.special.es.base)
        }
        for (which, height) in [(2, 14), (3, 8), (6, 16), (1, 16)] as [(UInt64, Int)] {
            let (start, segment) = try place(which)
            #expect(segment == BIOSROM.base)
            #expect(bytes(start, 256 * height) == CharacterSet.font(height: height))
        }
        let upper = CharacterSet.font(height: 8).suffix(1024)
        #expect(bytes(try place(4).0, 1024) == Array(upper))
        #expect(bytes(try place(0).0, 1024) == Array(upper))
        #expect(bytes(0xFFA6E, 1024) == Array(CharacterSet.font(height: 8).prefix(1024)))
        // Every printable character has its own picture, and the blank ones none.
        let pictures = (0x20...0x7E).map { Array(CharacterSet.font(height: 8)[$0 * 8..<$0 * 8 + 8]) }
        #expect(Set(pictures).count == pictures.count)
        #expect(pictures[0].allSatisfy { $0 == 0 })
        // A mode has its font.
        try call(0x10) { $0.rax = 0x0013 }
        #expect(memory.word(0x43 * 4, size: 2) == UInt64(BIOSROM.Place.font8))
    }

    /// Lines and corners meet the edges that their neighbours meet.
    @Test func boxesJoin() {
        let font = CharacterSet.font(height: 8)
        func rows(_ code: Int) -> [UInt8] { Array(font[code * 8..<code * 8 + 8]) }
        // A corner below and to the right, a line across, a line down; the same in pairs.
        for (corner, across, down) in [(0xDA, 0xC4, 0xB3), (0xC9, 0xCD, 0xBA)] {
            #expect(rows(corner).map { $0 & 1 } == rows(across).map { $0 >> 7 })
            #expect(rows(corner)[7] == rows(down)[0])
        }
        #expect(rows(0xB3).allSatisfy { $0 == 0x10 })
        #expect(rows(0xDB).allSatisfy { $0 == 0xFF })
    }

    /// A guest that sets the mode by the adapter's registers is seen, too.
    @Test func registersTellGraphicsFromText() {
        _ = screen.write(14, size: 1, 6)
        _ = screen.write(15, size: 1, 5)
        #expect(shown?.graphics?.mode == nil && shown?.graphics?.isDrawn == false)
        _ = screen.write(15, size: 1, 0x0E)
        #expect(shown?.graphics == nil)
    }

    // MARK: INT 15h AH=83h

    @Test func aFlagIsSetWhenATimeIsOver() throws {
        func wait(_ al: UInt64) throws -> BIOS.Result {
            try call(0x15) {
                $0.rax = 0x8300 | al
                // 2 ms.
                $0.rdx = 2000
                $0.rbx = 0x640
            }
        }
        /// INT 70h's OUT, with the clock's flags.
        func interrupt() throws {
            var general = GeneralRegisters()
            var special = SpecialRegisters()
            special.cs = .real(0xF000, code: true)
            special.ss = .real(0)
            general.rsp = 0x7000
            general.rax = 0x40
            general.rip = UInt64(BIOSROM.Place.clock) + 15
            let entry = try #require(bios.entry(general, special))
            #expect(entry == .clockFlags)
            #expect(bios.perform(entry, general, special, memory).call == nil)
        }
        #expect(ah(try wait(0)) == 0 && !carry)
        #expect(chips.realTimeClock.clockState.statusB & 0x40 != 0)
        #expect(memory.word(0x4A0, size: 1) == 1)
        // One at a time.
        _ = try wait(0)
        #expect(carry)
        try interrupt()
        #expect(memory.word(0x640, size: 1) == 0)
        chips.clock.stepTime = 3_000_000
        chips.clock.stepped()
        try interrupt()
        #expect(memory.word(0x640, size: 1) == 0x80)
        #expect(memory.word(0x4A0, size: 1) == 0)
        #expect(chips.realTimeClock.clockState.statusB & 0x40 == 0)
        // Cancelled, it sets nothing.
        memory.store([0], at: 0x640)
        _ = try wait(0)
        #expect(ah(try wait(1)) == 0 && !carry)
        chips.clock.stepped()
        try interrupt()
        #expect(memory.word(0x640, size: 1) == 0)
    }
}
