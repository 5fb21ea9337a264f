import TargetConformance
import Testing
import X86

@testable import Debugger

/// The black box books each change to the instruction that made it.
@Suite struct StepBookingTests {
    private func debugger(_ code: [UInt8], quirks: FakeQuirks = [.lateHalt, .emptyREP]) throws -> Debugger {
        let debugger = try Debugger(target: FakeTarget(quirks: quirks))
        try debugger.writeMemory(.physical(0x7C00), code)
        return debugger
    }

    @Test func anEditIsNotTheLastInstructionsDoing() throws {
        // inc ax; inc bx
        let debugger = try debugger([0x40, 0x43])
        try debugger.step()
        try debugger.setRegister("rcx", to: 0x1234)
        try debugger.step()
        let steps = try debugger.blackBox(limit: 10).steps.map(\.record)
        #expect(steps.map(\.registers.rcx) == [0, 0x1234])
        // INC AX left CX alone.
        #expect(steps[0].after?.rcx == 0 && steps[0].after?.rax == 1)
        #expect(steps[1].after == nil)
    }

    @Test func anInterruptInTheInstructionsPlaceIsNamed() throws {
        // 7C00 sti; 7C01 inc ax; 7C02 jmp 7C01; the handler, within reach of it: 7C08 inc dx; iret
        var code = [UInt8](repeating: 0x90, count: 10)
        code.replaceSubrange(0..<4, with: [0xFB, 0x40, 0xEB, 0xFD])
        code.replaceSubrange(8..<10, with: [0x42, 0xCF])
        let debugger = try debugger(code)
        try debugger.writeMemory(.physical(0x20 * 4), [0x08, 0x7C, 0, 0])
        let target = try #require(debugger.target as? FakeTarget)
        debugger.takesInterruptsWhileStepping = true
        try debugger.step()
        target.processors[0].pendingInterrupt = 0x20
        try debugger.step(count: 2)
        let steps = try debugger.blackBox(limit: 10).steps
        let place = try #require(steps.firstIndex { $0.record.delivered == 0x20 })
        // INC AX was not executed.
        #expect(steps[place].record.registers.rip == 0x7C01)
        #expect(
            steps[place + 1].record.registers.rip == 0x7C08, "the handler's first instruction has its own")
        #expect(steps[place + 1].record.registers.rax == 0)
        #expect(steps[place + 1].code.text == "inc dx")
        #expect(steps[place + 1].record.registers.rdx == 0)
    }

    @Test func aFaultIsBookedApartFromItsHandler() throws {
        // 7C00 div cx, with CX 0; the handler at 7D00: inc bx; inc bx
        let debugger = try debugger([0xF7, 0xF1])
        try debugger.writeMemory(.physical(0), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x43, 0x43])
        try debugger.step()
        try debugger.step()
        let steps = try debugger.blackBox(limit: 10).steps.map(\.record)
        #expect(steps.first?.registers.rip == 0x7C00 && steps.first?.delivered == 0)
        #expect(steps.dropFirst().first?.registers.rip == 0x7D00)
        #expect(steps.dropFirst().first?.registers.rbx == 0)
    }
}
