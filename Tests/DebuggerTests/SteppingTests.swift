import Expressions
import KVMCore
import TargetConformance
import Testing
import X86

@testable import DebugTarget
@testable import Debugger

@Suite struct SteppingTests {
    @Test(
        arguments: [
            ([0xF4], false, OpcodeClass.halt), ([0x66, 0xF4], false, .halt), ([0x90], false, .ordinary),
            ([0x9D], false, .loadsFlags), ([0xCF], false, .loadsFlags), ([0x48, 0xCF], true, .loadsFlags),
            // DEC AX in 16-bit code, where REX does not exist.
            ([0x48, 0xCF], false, .ordinary),
            ([0x9C], false, .pushesFlags), ([0x66, 0x9C], true, .pushesFlags),
            ([0x17], false, .loadsStackSegment), ([0x17], true, .ordinary),
            ([0x8E, 0xD0], false, .loadsStackSegment), ([0x41, 0x8E, 0x16], true, .loadsStackSegment),
            ([0x8E, 0xD8], false, .ordinary), ([0x8E], false, .ordinary),
            ([0xF3, 0xA4], false, .repeatsString), ([0xF2, 0x66, 0xAF], false, .repeatsString),
            ([0xF3, 0x6C], true, .repeatsString), ([0xF3, 0x90], false, .ordinary),
            ([0xA4], false, .ordinary),
            ([0xCD, 0x10], false, .softwareInterrupt(vector: 0x10)),
            ([0xCC], false, .softwareInterrupt(vector: 3)),
            ([0xCE], false, .softwareInterrupt(vector: 4)), ([0xCE], true, .ordinary),
            ([0xF1], true, .softwareInterrupt(vector: 1)), ([0xCD], false, .ordinary),
            ([0x0F, 0x05], true, .loadsFlags), ([0x0F, 0xA2], true, .ordinary),
            ([0xB0, 0xF4], false, .ordinary),
            ([], false, .ordinary), ([0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66], false, .ordinary),
        ] as [([UInt8], Bool, OpcodeClass)])
    func opcodesAreTold(_ code: [UInt8], _ isLong: Bool, _ expected: OpcodeClass) {
        var word: UInt64 = 0
        for (i, byte) in code.enumerated() { word |= UInt64(byte) << UInt64(i * 8) }
        #expect(OpcodeClass(bytes: word, count: code.count, isLong: isLong) == expected)
    }

    @Test func interruptsLeadWhereTheTablesSay() throws {
        let memory = FakeMemory(size: 1 << 16)
        func put(_ address: UInt64, _ words: [UInt64]) throws {
            try bytes(words, width: 8).withUnsafeBytes { try memory.write(address, $0) }
        }
        func entry(_ vector: UInt8, _ special: SpecialRegisters) -> UInt64? {
            InterruptEntry.linear(vector, LinearMemory(memory: memory, special: special))
        }
        var special = SpecialRegisters()
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        try put(0x80, [0xF000_1234])
        #expect(entry(0x20, special) == 0xF1234)
        special.idt.limit = 0x80
        #expect(entry(0x20, special) == nil, "beyond the table")

        // A 32-bit interrupt gate 0008:00011234, and a code segment with base 0x100000.
        special.cr0 = [.pe]
        special.idt = DescriptorTable(base: 0x1000, limit: 0x7FF)
        special.gdt = DescriptorTable(base: 0x2000, limit: 0xF)
        try put(0x1000 + 8 * 0x20, [0x0001_8E00_0008_1234])
        try put(0x2008, [0x00CF_9B10_0000_FFFF])
        #expect(entry(0x20, special) == 0x11_1234)
        // A task gate, and one that is not present.
        try put(0x1000 + 8 * 0x21, [0x0000_8500_0008_0000, 0x0001_0E00_0008_1234])
        #expect(entry(0x21, special) == nil)
        #expect(entry(0x22, special) == nil)

        special.efer = [.lme, .lma]
        special.idt = DescriptorTable(base: 0x3000, limit: 0xFFF)
        try put(0x3000 + 16 * 3, [0x8000_8E00_0008_1234, 0xFFFF_FFFF])
        #expect(entry(3, special) == 0xFFFF_FFFF_8000_1234)
    }

    /// Arming and taking back for each step would cost more than the step.
    @Test func guestDebugIsSetOnceForManySteps() throws {
        let (debugger, target) = try debugger([0x40, 0x43, 0xEB, 0xFC])
        for _ in 0..<200 { try debugger.step() }
        try debugger.step(count: 200)
        #expect(target.processors[0].guestDebugCalls == 1)
        #expect(try debugger.registerValue("ax").bits == 134)
    }

    @Test func interruptsAreHeldOffWhereThatIsPossible() throws {
        for abilities: GuestDebug.Control in [
            [.enable, .singleStep], [.enable, .singleStep, .blockInterrupts],
        ] {
            let target = FakeTarget(abilities: abilities)
            let debugger = try Debugger(target: target)
            try debugger.writeMemory(.physical(0x7C00), [0x90])
            try debugger.step()
            #expect(
                target.processors[0].guestDebug.control.contains(.blockInterrupts)
                    == abilities.contains(.blockInterrupts))
        }
    }

    @Test func aStepThatIsNotHonouredSaysSo() throws {
        // 7C00 jmp 7C20; 7C20 out e9, al; 7C22 jmp $
        var code = [UInt8](repeating: 0x90, count: 0x24)
        code.replaceSubrange(0..<2, with: [0xEB, 0x1E])
        code.replaceSubrange(0x20..<0x24, with: [0xE6, 0xE9, 0xEB, 0xFE])
        let (debugger, _) = try debugger(code, quirks: .losesSteps)
        try debugger.step()
        guard case .stepLost(.io) = debugger.stop.reason else {
            Issue.record("stopped for \(debugger.stop.reason)")
            return
        }
        #expect(debugger.stop.unsteppable == .real)
        // And one that never exits can be stopped.
        try debugger.startStep()
        #expect(try debugger.collectStop(timeout: .milliseconds(10)) == nil)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(5))?.reason == .interrupted)
    }

    @Test func aStepThatIsHonouredSaysNothing() throws {
        let (debugger, _) = try debugger([0x90, 0xEB, 0xFE])
        try debugger.step()
        #expect(debugger.stop.unsteppable == nil)
    }

    @Test func aStepThatIsWithheldIsEndedAndSaysWhy() throws {
        let (debugger, target) = try debugger([0x40, 0x43, 0xEB, 0xFC])
        let reason = Withholding("its VMM has paused it", remedy: "let it run there")
        target.withheld = reason
        for start in [{ try debugger.startStep() }, { try debugger.startStepAll(count: 2) }] {
            try start()
            #expect(try debugger.collectStop(timeout: nil)?.reason == .withheld(reason))
            #expect(debugger.stop.steps == 0)
            #expect(debugger.selected.registers.rip == 0x7C00)
        }
        // To run freely it may wait for as long as it likes, and it is seen to wait.
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(10)) == nil)
        #expect(try debugger.liveSnapshot().activity == .paused)
        target.withheld = nil
        #expect(try debugger.liveSnapshot().activity == .running)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: nil)?.reason == .interrupted)
        try debugger.step()
        #expect(debugger.stop.reason == .step(count: 1))
    }

    @Test func aStepOverARepeatedMoveDoesTheWholeOfIt() throws {
        let (debugger, _) = try debugger([0xF3, 0xA4, 0x90], quirks: .emptyREP)
        try debugger.setRegister("rcx", to: 4)
        try debugger.setRegister("rsi", to: 0x7C00)
        try debugger.setRegister("rdi", to: 0x6000)
        try debugger.step()
        #expect(debugger.stop.steps == 1)
        #expect(try debugger.registerValue("rip").bits == 0x7C02)
        #expect(try debugger.readMemory(.linear(0x6000), count: 3).bytes == [0xF3, 0xA4, 0x90])
    }

    @Test func aTripleFaultIsTheEndUntilAnEdit() throws {
        let (debugger, _) = try debugger([0x90, 0x0F, 0x0B])
        try debugger.continueRun()
        #expect(debugger.stop.reason == .tripleFault)
        #expect(debugger.selected.activity == .dead)
        #expect(debuggerError { try debugger.startStep() }?.code == .refused)
        try debugger.setRegister("rip", to: 0x7C00)
        try debugger.step()
        #expect(debugger.stop.reason == .step(count: 1))
    }

    @Test func ordersThatCannotBeAreRefused() throws {
        let (debugger, _) = try debugger()
        #expect(debuggerError { try debugger.startStep(count: 0) }?.code == .outOfRange)
        #expect(debuggerError { try debugger.select(vcpu: 7) }?.code == .noVCPU)
        #expect(
            debuggerError { try debugger.setBreakpoint(at: .linear(0), kind: .virtual) }?.code == .badAddress)
        #expect(
            try debugger.collectStop(timeout: nil)?.number == 0, "nothing runs: the stop is the current one")
    }

    @Test func historyIsLimited() throws {
        let (debugger, _) = try debugger([0x40, 0xEB, 0xFD])
        for _ in 0..<120 { try debugger.step() }
        #expect(debugger.history.map(\.number) == Array(71...120))
        #expect(debugger.previousStop?.number == 119)
        #expect(debugger.stop.number == 120)
    }

    /// One that is plugged in while all run comes to breakpoints as the others do.
    @Test func aNewcomerIsDrivenWithTheRest() throws {
        // 7C00 jmp $; 7C02 inc ax; inc bx; jmp 7C02
        let (debugger, target) = try debugger([0xEB, 0xFE, 0x40, 0x43, 0xEB, 0xFC])
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x7C03))
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(10)) == nil)
        target.plugIn(at: 0x7C02)
        let stop = try #require(try debugger.collectStop(timeout: .seconds(10)))
        #expect(stop.reason == .breakpoint([breakpoint.number]) && stop.vcpu == 1)
        #expect(stop.vcpus.map(\.id) == [0, 1] && stop[1]?.registers.rip == 0x7C03)
        try debugger.select(vcpu: 1)
        #expect(try debugger.step().reason == .step(count: 1))
        #expect(try debugger.registerValue("bx", vcpu: 1).bits == 1)
        #expect(try debugger.continueRun().reason == .breakpoint([breakpoint.number]))
        // Without anything at work, too, it is there at the next stop.
        try debugger.deleteAllBreakpoints()
        try debugger.startContinue()
        target.plugIn(at: 0x7C00)
        #expect(try debugger.collectStop(timeout: .milliseconds(10)) == nil)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(10))?.vcpus.map(\.id) == [0, 1, 2])
    }

    @Test func addedVCPUsAreTakenIn() throws {
        let (debugger, target) = try debugger([0x40, 0xEB, 0xFD])
        let id = target.addVCPU()
        try debugger.refreshVCPUs()
        #expect(debugger.stop.vcpus.map(\.id) == [0, id])
        try debugger.select(vcpu: id)
        try debugger.step()
        #expect(try debugger.registerValue("ax", vcpu: id).bits == 1)
        #expect(try debugger.registerValue("ax", vcpu: 0).bits == 0)
    }
}
