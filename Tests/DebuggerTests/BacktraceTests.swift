import Debugger
import TargetConformance
import Testing
import X86

@Suite struct BacktraceTests {
    /// A stack in real mode, as the code at these places would have made it.
    private func guest(_ code: [(at: UInt64, [UInt8])], stack: [(at: UInt64, UInt64)]) throws -> Debugger {
        let (debugger, _) = try debugger()
        for (place, bytes) in code { try debugger.writeMemory(.physical(place), bytes) }
        for (place, word) in stack { try debugger.writeMemory(.physical(place), bytes([word], width: 2)) }
        return debugger
    }

    /// 7C10 call 7D00; 7D10 call far 0800:0000 (linear 8000); 8010 int 0x21, whose handler is at 0800:0100.
    private let code: [(at: UInt64, [UInt8])] = [
        (0x7C10, [0xE8, 0xED, 0x00]), (0x7D10, [0x9A, 0x00, 0x00, 0x00, 0x08]), (0x8010, [0xCD, 0x21]),
        (0x8120, [0x90]),
    ]
    private let stack: [(at: UInt64, UInt64)] = [
        // The handler's frame: IP, CS and flags of the INT above it.
        (0x6F00, 0x6F20), (0x6F02, 0x0012), (0x6F04, 0x0800), (0x6F06, 0x0202),
        // The far function's.
        (0x6F20, 0x6F40), (0x6F22, 0x7D15), (0x6F24, 0x0000),
        // The near function's.
        (0x6F40, 0x0000), (0x6F42, 0x7C13),
    ]

    private func stand(_ debugger: Debugger, bp: UInt64, sp: UInt64 = 0x6E00) throws {
        try debugger.setRegister("cs", to: 0x0800)
        try debugger.setRegister("rip", to: 0x120)
        try debugger.setRegister("bp", to: bp)
        try debugger.setRegister("sp", to: sp)
    }

    @Test func saysWhichFramesAreFar() throws {
        let debugger = try guest(code, stack: stack)
        try stand(debugger, bp: 0x6F00)
        let trace = try debugger.backtrace(limit: 10)
        #expect(trace.width == 2)
        #expect(trace.frames.map(\.kind) == [.innermost, .interrupt, .far, .near])
        #expect(trace.frames.map(\.linear) == [0x8120, 0x8012, 0x7D15, 0x7C13])
        #expect(trace.frames.map(\.selector) == [0x800, 0x800, 0, 0])
        #expect(trace.end?.contains("frame pointer is 0") == true)
        #expect(try debugger.backtrace(limit: 2).frames.count == 2)
        #expect(try debugger.backtrace(limit: 2).end == nil)
    }

    @Test func aReturnAddressAfterNoCallIsNoFrame() throws {
        let debugger = try guest([(0x8120, [0x90])], stack: [(0x6F00, 0x6F20), (0x6F02, 0x1234)])
        try stand(debugger, bp: 0x6F00)
        let trace = try debugger.backtrace(limit: 10)
        #expect(trace.frames.map(\.kind) == [.innermost])
        #expect(trace.end?.contains("no CALL leads from 0x1234, the word at 0x6f02") == true)
    }

    /// Vector 8's handler at 0800:0100 has been entered by the timer, from code with no INT.
    @Test func whatAnInterruptHasPushedIsAFrame() throws {
        let debugger = try guest(
            [(0x8120, [0x90]), (0x8050, [0x90, 0x90])],
            stack: [
                (0x6F00, 0x6F20), (0x6F02, 0x0051), (0x6F04, 0x0800), (0x6F06, 0x0202), (0x20, 0x0100),
                (0x22, 0x0800),
            ])
        try stand(debugger, bp: 0x6F00)
        let trace = try debugger.backtrace(limit: 2)
        #expect(trace.frames.map(\.kind) == [.innermost, .interrupt] && trace.frames.last?.linear == 0x8051)
        // Flags that no processor pushes.
        try debugger.writeMemory(.physical(0x6F06), [0x00, 0x02])
        #expect(try debugger.backtrace(limit: 2).frames.count == 1)
    }

    @Test func atItsEntryAFunctionNeedsNoFrame() throws {
        // INC AX, PUSH AX at 7D00, called from 7C10: no PUSH BP anywhere.
        let debugger = try guest(
            [(0x7C10, [0xE8, 0xED, 0x00]), (0x7D00, [0x40, 0x50])],
            stack: [(0x6E00, 0x7C13), (0x1236, 0x4321)])
        try debugger.setRegister("sp", to: 0x6E00)
        // BP holds data.
        try debugger.setRegister("bp", to: 0x1234)
        try debugger.setRegister("rip", to: 0x7D00)
        let trace = try debugger.backtrace(limit: 9)
        #expect(trace.frames.map(\.linear) == [0x7D00, 0x7C13])
        // One instruction on it is not known, and nothing is made up.
        try debugger.setRegister("rip", to: 0x7D01)
        #expect(try debugger.backtrace(limit: 9).frames.map(\.linear) == [0x7D01])
    }

    @Test func loopsEnd() throws {
        let debugger = try guest(
            code + [(0xFC10, [0xE8, 0, 0])],
            stack: [(0x6F00, 0x6F20), (0x6F02, 0x7C13), (0x6F20, 0x6F00), (0x6F22, 0x7C13)])
        try stand(debugger, bp: 0x6F00)
        let trace = try debugger.backtrace(limit: 1000)
        #expect(trace.frames.count == 3)
        #expect(trace.end?.contains("does not lie above") == true)
    }

    @Test func aFunctionThatHasNoFrameYet() throws {
        // PUSH BP; MOV BP, SP at 7D00, called from 7C10.
        let debugger = try guest(
            [(0x7C10, [0xE8, 0xED, 0x00]), (0x7D00, [0x55, 0x89, 0xE5, 0x90, 0x5D, 0xC3])],
            stack: [(0x6E00, 0x7C13)])
        try debugger.setRegister("sp", to: 0x6E00)
        try debugger.setRegister("bp", to: 0)
        for place: UInt64 in [0x7D00, 0x7D05] {
            try debugger.setRegister("rip", to: place)
            #expect(try debugger.backtrace(limit: 9).frames.map(\.linear) == [place, 0x7C13])
        }
        // After the PUSH.
        try debugger.writeMemory(.physical(0x6DFE), [0, 0])
        try debugger.setRegister("sp", to: 0x6DFE)
        try debugger.setRegister("rip", to: 0x7D01)
        #expect(try debugger.backtrace(limit: 9).frames.map(\.linear) == [0x7D01, 0x7C13])
    }

    @Test func wideFrames() throws {
        let (debugger, _) = try debugger()
        try debugger.setRegister("cs.db", to: 1)
        try debugger.setRegister("ss.db", to: 1)
        try debugger.setRegister("cr0.pe", to: 1)
        // call eax
        try debugger.writeMemory(.physical(0x9_0000), [0xFF, 0xD0])
        try debugger.writeMemory(.physical(0x8_0000), bytes([0, 0x9_0002], width: 4))
        try debugger.setRegister("ebp", to: 0x8_0000)
        let trace = try debugger.backtrace(limit: 9)
        #expect(trace.width == 4)
        #expect(trace.frames.map(\.kind) == [.innermost, .near])
        #expect(trace.frames.last?.ip == 0x9_0002)
        // A frame beyond all memory.
        try debugger.setRegister("ebp", to: 0xFFFF_FFF0)
        #expect(try debugger.backtrace(limit: 9).end?.contains("cannot be read") == true)
    }
}
