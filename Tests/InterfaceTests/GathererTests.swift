import Commands
import Debugger
import TargetConformance
import Testing
import X86

@testable import GuestView
@testable import Interface

/// What the panes are given, from a guest without KVM.
@Suite struct GathererTests {
    private let size = Size(width: 200, height: 60)

    private func session(_ code: [UInt8], vcpus: Int = 1) throws -> Session {
        let debugger = try Debugger(target: FakeTarget(vcpus: vcpus))
        try debugger.writeMemory(.physical(0x7C00), code)
        return Session(debugger: debugger)
    }

    private func shown(_ gatherer: Gatherer, _ model: inout Model) -> [String] {
        // As the front end does: what is shown may ask for more.
        for _ in 0..<2 { _ = model.update(.guest(gatherer.gather(model.needs))) }
        let screen = model.view()
        return (0..<size.height).map(screen.text(row:))
    }

    /// push ax; push bx: each stop's panes are shown again as they were, with what had changed then.
    @Test func anEarlierStopIsShownAsItWas() throws {
        let session = try session([0xB8, 0x34, 0x12, 0x50, 0x50, 0x90, 0x90])
        let gatherer = Gatherer(session: session)
        var model = Model(size: size)
        var screens: [[String]] = []
        for _ in 0..<5 {
            screens.append(shown(gatherer, &model))
            try session.debugger.step()
        }
        _ = shown(gatherer, &model)
        for number in [4, 2, 3, 0, 1] {
            try session.debugger.revisit(number)
            let rows = shown(gatherer, &model)
            #expect(rows[0].contains("PAST: stop \(number) of 5"))
            // All but titles and what counts the time is the same.
            for (now, then) in zip(rows, screens[number]).dropFirst(2).dropLast()
            where !now.contains("PAST") {
                #expect(now.replacing("\u{2500}", with: "") == then.replacing("\u{2500}", with: ""))
            }
        }
        session.debugger.returnToPresent()
        #expect(!shown(gatherer, &model)[0].contains("PAST"))
    }

    @Test func theStackMarksTheBytesThatChanged() throws {
        // mov ax, 0x12ff; push ax; pop ax; mov al, 0x34; push ax
        let session = try session([0xB8, 0xFF, 0x12, 0x50, 0x58, 0xB0, 0x34, 0x50])
        let gatherer = Gatherer(session: session)
        try session.debugger.setRegister("sp", to: 0x7800)
        var needs = Needs()
        needs.stackSlots = 4
        try session.debugger.step(count: 2)
        #expect(gatherer.gather(needs).stack.first?.value == 0x12FF)
        try session.debugger.step()
        _ = gatherer.gather(needs)
        try session.debugger.step()
        _ = gatherer.gather(needs)
        try session.debugger.step()
        let slot = try #require(gatherer.gather(needs).stack.first)
        #expect(slot.value == 0x1234)
        #expect(slot.changed == 0b01, "the low byte alone")
    }

    @Test func jumpsKnowTheirLines() throws {
        // jz +2; nop; nop; jmp back to the start; jmp far away
        let session = try session([0x74, 0x02, 0x90, 0x90, 0xEB, 0xFA, 0xE9, 0x00, 0x10])
        let gatherer = Gatherer(session: session)
        var needs = Needs()
        needs.codeLines = 6
        let lines = gatherer.gather(needs).code.lines
        #expect(lines.map(\.jump) == [.line(3), nil, nil, .line(0), .down, nil])
        #expect(lines[0].willBranch == false)
    }

    @Test func memoryOperandsAreSpeltOut() throws {
        // mov [0x500], ax with DS at 0x1000
        let session = try session([0xA3, 0x00, 0x05])
        try session.debugger.setRegister("ds", to: 0x100)
        try session.debugger.writeMemory(.physical(0x1500), [0x41, 0x42])
        var needs = Needs()
        needs.codeLines = 1
        #expect(Gatherer(session: session).gather(needs).code.lines.first?.note == "[ds:0500] = 4241")
    }

    @Test func onlyShownVCPUsAreLookedAt() throws {
        let session = try session([0x90], vcpus: 64)
        var model = Model(size: Size(width: 80, height: 24))
        _ = model.update(.guest(Gatherer(session: session).gather(model.needs)))
        #expect(model.needs.registersOf == [0])
        #expect(model.needs.linesOf == [0, 1])
        // The pane of the others shows one of them.
        _ = model.update(.key(.function(4)))
        _ = model.update(.key(.character("0")))
        #expect(model.needs.registersOf == [0, 1])
    }

    @Test func sixteenBitPointersAreFollowedOnce() throws {
        let session = try session([0x90])
        try session.debugger.setRegister("ds", to: 0x100)
        try session.debugger.setRegister("si", to: 0x4000)
        try session.debugger.writeMemory(.physical(0x5000), Array("text".utf8))
        try session.debugger.setRegister("bx", to: 0x4002)
        try session.debugger.setRegister("ax", to: 0x4000)
        var needs = Needs()
        needs.chains = true
        let chains = Gatherer(session: session).gather(needs).chains
        #expect(chains["rsi"] == "\u{2192} \"text\"")
        #expect(chains["rbx"] == "\u{2192} 7478")
        #expect(chains["rax"] == nil, "AX addresses nothing in 16-bit code")
    }
}
