import DebugTarget
import Debugger
import KVMCore
import Machine
import Testing
import X86

/// State that is shown and set beside the registers, each set and read back.
@Suite(.enabled(if: isLive, "needs /dev/kvm")) struct SystemStateLiveTests {
    private func debugger(_ controllers: Bool = false) throws -> (Debugger, OwnedMachine) {
        let machine = try machine(code: [0xF4]) {
            if controllers { $0.interruptController = .kernel }
        }
        return (try Debugger(target: machine), machine)
    }

    private func field(_ name: String) throws -> EventField { try #require(EventField(name)) }

    @Test func cpuid() throws {
        let (debugger, _) = try debugger()
        let table = try debugger.cpuid()
        #expect(table.vendor != nil)
        #expect(table[1]?.features.contains("fpu") == true)
        try debugger.setCPUID(0x8000_0002, 0, .eax, 0x4141_4141)
        #expect(try debugger.cpuid()[0x8000_0002]?.eax == 0x4141_4141)
        #expect(throws: DebuggerError.self) { try debugger.setCPUID(0x1234_5678, 0, .eax, 0) }
        // Once it has run, KVM takes no other.
        try debugger.step()
        let error = #expect(throws: DebuggerError.self) { try debugger.setCPUID(0x8000_0002, 0, .eax, 1) }
        #expect(error?.code == .refused)
        #expect(try debugger.cpuid()[0x8000_0002]?.eax == 0x4141_4141)
    }

    @Test func modelSpecificRegisters() throws {
        let (debugger, _) = try debugger()
        let all = try debugger.msrs()
        #expect(all.contains { $0.index == 0xC000_0080 })
        #expect(all.contains { $0.index == 0x1B })
        try debugger.setMSR(0xC000_0082, 0xFFFF_8000_0000_1000)
        #expect(try debugger.msr(0xC000_0082) == 0xFFFF_8000_0000_1000)
        try debugger.setMSR(0xC000_0080, EFER.nxe.rawValue)
        #expect(debugger.selected.special.efer.contains(.nxe), "what is known follows")
        #expect(throws: DebuggerError.self) { try debugger.msr(0x1234_5678) }
    }

    @Test func events() throws {
        let (debugger, _) = try debugger()
        for (name, value) in [("nmi.pending", UInt64(1)), ("nmi.masked", 1), ("interrupt.shadow", 2)] {
            let field = try field(name)
            try debugger.setEvent(field, value)
            let kept = field.value(in: try debugger.events())
            // SVM has one bit for both shadows, and KVM says both of it (svm_get_interrupt_shadow).
            #expect(kept == value || name == "interrupt.shadow" && kept == 3, "\(name): \(kept)")
        }
        let narrow = try field("nmi.masked")
        let error = #expect(throws: DebuggerError.self) { try debugger.setEvent(narrow, 2) }
        #expect(error?.code == .outOfRange)
    }

    @Test func processorStates() throws {
        let (debugger, _) = try debugger(true)
        for state in [MPState.halted, .initReceived, .runnable] {
            try debugger.setMPState(state)
            #expect(try debugger.mpState() == state)
        }
        let (without, _) = try self.debugger()
        let error = #expect(throws: DebuggerError.self) { try without.setMPState(.initReceived) }
        #expect(error?.code == .refused)
        #expect(error?.remedy?.contains("always runnable") == true)
    }

    @Test func extendedState() throws {
        let (debugger, _) = try debugger()
        var (enabled, state) = try debugger.extendedState()
        #expect(enabled.rawValue & 1 == 1)
        #expect(state.components.first?.name == "x87")
        var fpu = try debugger.fpu()
        fpu.xmm[2][15] = 0x77
        try debugger.setFPU(fpu)
        #expect(try debugger.fpu().xmm[2][15] == 0x77)
        guard (try? debugger.setXCR(0, 7)) != nil else {
            // A host without AVX.
            #expect(try debugger.cpuid()[1]?.features.contains("avx") == false)
            return
        }
        try debugger.setExtendedState(component: 2, offset: 5 * 16, [UInt8](repeating: 0xAB, count: 16))
        (enabled, state) = try debugger.extendedState()
        #expect(enabled.setNames == ["x87", "sse", "avx"])
        #expect(state.ymm(5) == [UInt8](repeating: 0, count: 16) + [UInt8](repeating: 0xAB, count: 16))
        #expect(state.ymm(2)?[15] == 0x77, "the rest stays")
        let error = #expect(throws: DebuggerError.self) { try debugger.setXCR(0, 2) }
        #expect(error?.code == .refused)
        #expect(throws: DebuggerError.self) {
            try debugger.setExtendedState(component: 2, offset: 250, [UInt8](repeating: 0, count: 16))
        }
    }

    @Test func localAPIC() throws {
        let (debugger, _) = try debugger(true)
        try debugger.setLocalAPIC(register: 0x80, 0x30)
        #expect(try debugger.localAPIC()[0x80] == 0x30)
        #expect(debugger.selected.special.cr8 == 3, "the task priority is CR8")
        #expect(throws: DebuggerError.self) { try self.debugger().0.setLocalAPIC(register: 0x80, 0) }
    }

    @Test func chips() throws {
        let (_, machine) = try debugger(true)
        var pic = try machine.picState(.slave)
        pic.imr = 0xA5
        try machine.setPICState(.slave, pic)
        #expect(try machine.picState(.slave).imr == 0xA5)
        var ioapic = try machine.ioapicState()
        ioapic.redirections[4] = IOAPICState.Redirection(rawValue: 0x1_0030)
        try machine.setIOAPICState(ioapic)
        #expect(try machine.ioapicState().redirections[4].vector == 0x30)
        var pit = try machine.pitState()
        pit.channels[2].count = 1193
        try machine.setPITState(pit)
        #expect(try machine.pitState().channels[2].count == 1193)
    }
}
