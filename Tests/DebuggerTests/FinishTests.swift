import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

/// What `finish` takes for a call of the code at hand, and what it does not.
@Suite struct FinishTests {
    /// The code at 9000 with words on the stack at 6000.
    private func guest(
        _ words: [UInt64], code: [(at: UInt64, [UInt8])] = [], bp: UInt64 = 0
    ) throws -> Debugger {
        let (debugger, _) = try debugger()
        for (place, bytes) in [(at: 0x9000, [0x90, 0x90, 0xC3])] + code {
            try debugger.writeMemory(.physical(place), bytes)
        }
        try debugger.writeMemory(.physical(0x6000), bytes(words, width: 2))
        try debugger.setRegister("sp", to: 0x6000)
        try debugger.setRegister("bp", to: bp)
        try debugger.setRegister("rip", to: 0x9000)
        return debugger
    }

    private func isRefused(_ debugger: Debugger) throws -> Bool {
        do throws(DebuggerError) {
            try debugger.startFinish()
        } catch {
            #expect(error.code == .refused)
            #expect(error.advice == .stepToReturn)
            return true
        }
        debugger.interrupt()
        _ = try debugger.collectStop(timeout: .seconds(20))
        return false
    }

    /// 8000 call 9000; 8010 call 9800; 8020 call ax; 8030 int 20h; 8040 mov al, 0cdh; out 0e8h, al
    private let code: [(at: UInt64, [UInt8])] = [
        (0x8000, [0xE8, 0xFD, 0x0F]), (0x8010, [0xE8, 0xED, 0x17]), (0x8020, [0xFF, 0xD0]),
        (0x8030, [0xCD, 0x20]), (0x8040, [0xB0, 0xCD, 0xE6, 0xE8]),
    ]

    @Test(
        "a return address is one of a call that leads here",
        arguments: [
            ("after the call of this code", [0x8003], true),
            ("after it, with words before", [0x1111, 0, 0x7C00, 0x8003], true),
            ("a call by a register", [0x8022], true),
            ("a call to other code, further on", [0x8013], false),
            ("an instruction that no call stands before", [0x8042], false),
            ("bytes that look like INT within an instruction", [0x8043], false),
            ("in the middle of the call", [0x8002], false),
            ("numbers", [0, 1, 2, 0x202, 0xFFFF, 0x9001], false),
            ("IP, CS and flags, and no vector that leads here", [0x8032, 0, 0x202], false),
        ] as [(String, [UInt64], Bool)])
    func nearCalls(_ what: String, _ words: [UInt64], _ isCaller: Bool) throws {
        #expect(try isRefused(guest(words, code: code)) == !isCaller)
    }

    @Test func theHandlerOfAVectorWasInterrupted() throws {
        for (words, entry, isCaller) in [
            // INT 20h, whose vector leads here, and one that leads elsewhere.
            ([0x8032, 0, 0x0202], (0x20, 0x9000), true), ([0x8032, 0, 0x0202], (0x20, 0xA000), false),
            // Between two instructions, by a vector that leads right before this.
            ([0x8042, 0, 0x0002], (0x08, 0x8FF0), true), ([0x8042, 0, 0x0002], (0x08, 0x7000), false),
            // RFLAGS never look so.
            ([0x8042, 0, 0x0000], (0x08, 0x8FF0), false), ([0x8042, 0, 0x802A], (0x08, 0x8FF0), false),
        ] as [([UInt64], (UInt64, UInt64), Bool)] {
            let debugger = try guest(words, code: code)
            // All vectors lead where nothing is.
            try debugger.writeMemory(
                .physical(0), bytes((0..<512).map { $0 % 2 == 0 ? 0xFFF0 : 0xF000 }, width: 2))
            try debugger.writeMemory(.physical(entry.0 * 4), bytes([entry.1, 0], width: 2))
            #expect(try isRefused(debugger) == !isCaller, "\(words) \(entry)")
        }
    }

    @Test func aFrameOfManyLocalsIsFoundByItsPointer() throws {
        // Farther up than is searched; and the same without a frame pointer.
        for (bp, isCaller) in [(UInt64(0x6A00), true), (0, false)] {
            let debugger = try guest([], code: code + [(0x6A02, [0x03, 0x80])], bp: bp)
            #expect(try isRefused(debugger) == !isCaller)
        }
    }

    @Test func farCallsLeadHereByTheirSegment() throws {
        // 8100 call 0900:0000; 8110 call 0a00:0000; both return to segment 0.
        let far: [(at: UInt64, [UInt8])] = [
            (0x8100, [0x9A, 0, 0, 0, 9]), (0x8110, [0x9A, 0, 0, 0, 0x0A]),
        ]
        for (ip, isCaller) in [(UInt64(0x8105), true), (0x8115, false)] {
            let debugger = try guest([ip, 0], code: far)
            try debugger.setRegister("cs", to: 0x900)
            try debugger.setRegister("rip", to: 0)
            #expect(try isRefused(debugger) == !isCaller)
        }
    }
}
