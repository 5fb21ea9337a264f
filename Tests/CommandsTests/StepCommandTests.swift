import Commands
import Debugger
import Expressions
import KVMCore
import TargetConformance
import Testing

/// The commands that step, as typed.
@Suite struct StepCommandTests {
    /// 7C00 call 7C05; 7C03 jmp 7C03; 7C05 inc ax; 7C06 ret
    private static let code: [UInt8] = [0xE8, 0x02, 0x00, 0xEB, 0xFE, 0x40, 0xC3]

    @Test func stepUntilAnExpressionIsTrue() throws {
        let driver = try Driver(stepping: Self.code)
        let lines = try driver.text("s until $ax == 1")
        #expect(lines[0].hasPrefix("It holds: $ax == 1."))
        #expect(lines[1].contains("7c06"))
        let record = try driver.json("step until ($ip == 0x7c03)")
        #expect(record.contains(#""kind":"condition""#))
        #expect(record.contains(#""steps":1"#))
    }

    @Test func stepUntilSaysWhatIsWrong() throws {
        let driver = try Driver(stepping: Self.code)
        #expect(try driver.failure("step until").remedy?.contains("usage") == true)
        #expect(try driver.failure("step until $ax ==").column == 17)
        let kind = try driver.failure("step-until cal")
        #expect(kind.column == 11)
        #expect(kind.suggestion == "call")
        #expect(try driver.failure("step-until").remedy?.contains("usage") == true)
        #expect(try driver.failure("advance").remedy?.contains("usage") == true)
        #expect(driver.session.debugger.stop.number == 0)
    }

    @Test func stepUntilAKindOfInstruction() throws {
        let driver = try Driver(stepping: Self.code)
        #expect(try driver.text("step-until RET")[0].hasPrefix("Next is a RET."))
        #expect(try driver.json("step-until branch").contains(#""kind":"instruction""#))
    }

    @Test func finishTellsThatItReturned() throws {
        let driver = try Driver(stepping: Self.code)
        try driver.output("set $rsp = 0x7000")
        try driver.output("s")
        let lines = try driver.text("fin")
        #expect(lines[0].hasPrefix("Returned."))
        #expect(lines[1].contains("7c03"))
        let refused = try driver.failure("finish")
        #expect(refused.message.contains("no caller is to be seen"))
        #expect(refused.remedy?.contains("step-until ret") == true)
    }

    @Test func untilWithoutAnAddressGoesOverACall() throws {
        let driver = try Driver(stepping: Self.code)
        #expect(try driver.text("until").last?.contains("7c03") == true)
    }

    @Test func stepAllStepsEachVCPU() throws {
        let driver = try Driver(stepping: [0x40, 0xEB, 0xFD], vcpus: 2)
        let record = try driver.json("s all 4")
        #expect(record.contains(#""steps":8"#))
        for vcpu in 0...1 { #expect(try driver.session.debugger.registerValue("ax", vcpu: vcpu).bits == 2) }
        #expect(try driver.failure("s all 0").message.contains("0 is not a number of instructions"))
    }

    @Test func interruptsAreHeldOffUnlessAskedFor() throws {
        let driver = try Driver()
        #expect(try driver.json("show step-interrupts").contains(#""stepInterrupts":false"#))
        #expect(try driver.json("set step-interrupts on").contains(#""stepInterrupts":true"#))
        #expect(driver.session.debugger.takesInterruptsWhileStepping)
        try driver.output("set step-interrupts off")
        #expect(!driver.session.debugger.takesInterruptsWhileStepping)
        #expect(try driver.failure("set step-interrupts maybe").column == 20)
        #expect(try driver.failure("set step-interrupts").remedy?.contains("usage") == true)
    }

    /// A KVM without KVM_GUESTDBG_BLOCKIRQ: said once, where it matters.
    @Test func aHostThatCannotHoldInterruptsOffIsSaidOnce() throws {
        let warning = "This KVM cannot hold interrupts off while stepping (no KVM_GUESTDBG_BLOCKIRQ)."
        let target = FakeTarget(abilities: [.enable, .singleStep, .hardwareBreakpoints])
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(0x7C00), [UInt8](repeating: 0x40, count: 9) + [0xEB, 0xFE])
        let driver = Driver(FakeGuest([]), debugger)
        // With IF clear none would come.
        #expect(try !driver.text("step").contains(warning))
        try driver.output("set $if = 1")
        #expect(try driver.text("step").contains(warning))
        #expect(try !driver.text("step").contains(warning), "once is enough")
        #expect(try driver.json("show step-interrupts").contains(#""canHoldOff":false"#))
        #expect(try driver.text("show step-interrupts")[0].contains("KVM_GUESTDBG_BLOCKIRQ is missing"))
        // One that wants them in its steps is not told.
        let other = Driver(FakeGuest([]), try Debugger(target: target))
        try other.output("set step-interrupts on")
        #expect(try !other.text("step").contains(warning))
        // And an interrupt does come in a step there.
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x42, 0xCF])
        target.processors[0].pendingInterrupt = 0x20
        try driver.output("step")
        #expect(try debugger.registerValue("rip").bits == 0x7D01)
    }

    @Test func aHostThatHoldsInterruptsOffIsNotComplainedOf() throws {
        let driver = try Driver(stepping: [0x40, 0x40, 0xEB, 0xFE])
        try driver.output("set $if = 1")
        #expect(try !driver.text("step").contains { $0.contains("BLOCKIRQ") })
    }
}
