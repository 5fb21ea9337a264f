import DebugTarget
import Debugger
import Expressions
import KVMCore
import TargetConformance
import Testing
import X86

@Suite struct EditTests {
    /// KVM itself has the last word, and it is explained.
    @Test func whatKVMRefusesChangesNothing() throws {
        let (debugger, _) = try debugger()
        let before = try debugger.registerFile()
        let stop = debugger.stop.edits
        let error = try #require(debuggerError { try debugger.setRegister("cr4", to: CR4.vmxe.rawValue) })
        #expect(error.code == .refused)
        #expect(error.message.contains("KVM_SET_SREGS"))
        #expect(try debugger.registerFile() == before)
        #expect(debugger.stop.edits == stop)
    }

    /// A value that KVM takes and does not keep is no success.
    @Test func whatKVMDoesNotKeepIsSaid() throws {
        let (debugger, _) = try debugger()
        let before = try debugger.registerFile()
        let error = try #require(debuggerError { try debugger.setRegister("apicbase", to: 0xFEE0_0000) })
        #expect(error.code == .refused)
        #expect(error.message.contains("kept"))
        #expect(try debugger.registerFile() == before)
    }

    @Test func pagingTakesLongModeWithIt() throws {
        let (debugger, _) = try debugger()
        for (name, value) in [("cr4.pae", 1), ("efer.lme", 1), ("cr0.pe", 1), ("cr0.pg", 1)]
            as [(String, UInt64)]
        {
            try debugger.setRegister(name, to: value)
        }
        #expect(try debugger.registerValue("efer.lma").bits == 1)
        #expect(debuggerError { try debugger.setRegister("cr0.pg", to: 0, raw: true) }?.code == .refused)
        try debugger.setRegister("cr0.pg", to: 0)
        #expect(try debugger.registerValue("efer.lma").bits == 0)
    }

    @Test func changesAreToTheRegisterAndTheFlag() throws {
        // 7C00 inc ax; 7C01 dec bx
        let (debugger, _) = try debugger([0x40, 0x4B])
        try debugger.setRegister("rbx", to: 1)
        #expect(try debugger.changes().isEmpty, "there is no stop before")
        try debugger.step()
        var changes = try debugger.changes()
        #expect(changes.contains("rax") && changes.contains("rip") && !changes.contains("rbx"))
        #expect(changes.flags.isEmpty)
        try debugger.step()
        changes = try debugger.changes()
        #expect(changes.contains("$rbx") && !changes.contains("rax"))
        #expect(changes.flags == .zf)
        #expect(changes.contains("zf") && !changes.contains("cf"))
        // An edit is a change since the stop before.
        try debugger.setRegister("ds", to: 0x10)
        changes = try debugger.changes()
        #expect(changes.contains("ds") && changes.contains("ds.base") && !changes.contains("es"))
    }

    @Test func editsWhileRunningAreOfTheRunningVCPU() throws {
        // 7C00 inc ax; 7C01 jmp 7C00; 7C03 hlt
        let (debugger, _) = try debugger([0x40, 0xEB, 0xFD, 0xF4])
        try debugger.startStep(count: 1_000_000_000)
        #expect(try debugger.collectStop(timeout: .milliseconds(2)) == nil)
        let steps = debugger.stop.edits
        // Single-step has to survive the edit of RIP.
        try debugger.setRegister("rip", to: 0x7C03)
        #expect(try debugger.liveSnapshot().registers.rip == 0x7C03)
        #expect(try debugger.collectStop(timeout: .seconds(10))?.reason == .hlt)
        #expect(try debugger.registerValue("rip").bits == 0x7C04)
        #expect(debugger.stop.edits == 0 && steps >= 1)
    }

    @Test func msrsAndTheFPUCanBeSet() throws {
        let (debugger, _) = try debugger()
        try debugger.setMSR(0xC000_0082, 0x1234)
        #expect(try debugger.msr(0xC000_0082) == 0x1234)
        var fpu = try debugger.fpu()
        fpu.mxcsr = 0x1FC0
        try debugger.setFPU(fpu)
        #expect(try debugger.fpu().mxcsr == 0x1FC0)
        #expect(debuggerError { _ = try debugger.localAPIC() }?.code == .target)
    }
}
