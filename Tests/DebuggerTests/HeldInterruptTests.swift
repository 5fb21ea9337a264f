import DebugTarget
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Debugger

/// Interrupts that steps hold off, and steps that never end.
@Suite struct HeldInterruptTests {
    private func stepped(
        _ events: VCPUEvents, flags: UInt64 = 0x202, takes: Bool = false,
        abilities: GuestDebug.Control = [.enable, .singleStep, .blockInterrupts]
    ) throws -> HeldInterrupt? {
        let debugger = try Debugger(target: FakeTarget(abilities: abilities))
        try debugger.writeMemory(.physical(0x7C00), [0x90, 0x90])
        try debugger.setRegister("rflags", to: flags)
        debugger.takesInterruptsWhileStepping = takes
        try debugger.target.withVCPU(0) { try $0.setEvents(events) }
        try debugger.step()
        return debugger.heldInterrupt()
    }

    @Test func whatWaitsIsTold() throws {
        var events = VCPUEvents()
        #expect(try stepped(events) == nil)
        events.interruptInjected = true
        events.interruptVector = 0x20
        #expect(try stepped(events) == .vector(0x20))
        #expect(try stepped(events, flags: 2) == nil, "the guest itself holds it off")
        #expect(try stepped(events, takes: true) == nil, "steps take it")
        #expect(try stepped(events, abilities: [.enable, .singleStep]) == nil, "KVM cannot hold it off")
        events.nmiPending = 1
        #expect(try stepped(events, flags: 2) == .nmi, "IF is not for NMIs")
        events.nmiMasked = true
        #expect(try stepped(events, flags: 2) == nil)
        events.smiPending = true
        #expect(try stepped(events, flags: 2) == .smi)
    }

    @Test func stepsTakeInterruptsIfAsked() throws {
        let target = FakeTarget()
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(0x7C00), [0x90, 0x90, 0x90])
        for takes in [true, false] {
            debugger.takesInterruptsWhileStepping = takes
            try debugger.step()
            #expect(target.processors[0].guestDebug.control.contains(.blockInterrupts) == !takes)
        }
    }

    @Test func thePICGivesItsHighestRequest() {
        var chip = PICState()
        #expect(chip.request == nil)
        chip.irr = 0b1001_0000
        #expect(chip.request == 4)
        chip.imr = 0b0001_0000
        #expect(chip.request == 7)
        chip.isr = 0b0000_0100
        #expect(chip.request == nil, "a higher one is in service")
        chip.priorityAdd = 3
        #expect(chip.request == 7, "input 3 is the highest now")
    }

    @Test func theLocalAPICGivesWhatIsAboveItsPriority() throws {
        var apic = try #require(LocalAPICState(bytes: [UInt8](repeating: 0, count: LocalAPICState.size)))
        apic[0x210] = 1 << 3
        #expect(apic.deliverable == nil, "it is off")
        var special = SpecialRegisters()
        #expect(apic.takesPIC(special), "it is off in IA32_APIC_BASE, too")
        special.apicBase = 0xFEE0_0900
        apic[0xF0] = 0x1FF
        #expect(apic.deliverable == 0x23)
        apic[0x80] = 0x20
        #expect(apic.deliverable == nil, "its class is the task's")
        apic[0x80] = 0x10
        apic[0x120] = 1
        #expect(apic.deliverable == nil, "0x40 is served")
        #expect(!apic.takesPIC(special))
        apic[0x350] = 0x700
        #expect(apic.takesPIC(special))
        apic[0xF0] = 0xFF
        #expect(apic.takesPIC(special), "KVM does not ask for the software enable")
        apic[0x350] = 0x1_0700
        #expect(!apic.takesPIC(special), "LINT0 is masked")
    }

    /// 7C00 jmp $, and TF without effect: the step would never end. It is given longer than where registers change.
    @Test func aStepThatNeverEndsIsEnded() throws {
        let (still, _) = try debugger([0xEB, 0xFE], quirks: .losesSteps)
        try still.startStep()
        #expect(try still.collectStop(timeout: .milliseconds(1500)) == nil)
        #expect(try still.collectStop(timeout: nil)?.reason == .stepLost(.interrupted))

        // 7C00 inc ax; 7C01 jmp 7C00
        let (debugger, _) = try debugger([0x40, 0xEB, 0xFD], quirks: .losesSteps)
        for start in [
            { try debugger.startStep() }, { try debugger.startStep(untilTrue: "$ax == 1") },
            { try debugger.startStepAll(count: 2) },
        ] {
            try start()
            #expect(try debugger.collectStop(timeout: nil)?.reason == .stepLost(.interrupted))
        }
        // Freely, it may run as long as it likes.
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(10)) == nil)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: nil)?.reason == .interrupted)
    }
}
