import DebugTarget
import Debugger
import KVMCore
import Testing
import X86

@testable import Machine

/// Instructions that a host's KVM may lack, in a guest: done by the processor or here, with the same end.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct AssistLiveTests {
    /// A 32-bit program at 1 MiB with a table of its own at 0x2000 (one vector, at `handler`), after `lidt`.
    private func program(_ code: [UInt8], vector: UInt8, handler: [UInt8]) -> [UInt8] {
        let gate = 0x2000 + UInt16(vector) * 8
        let (low, high) = (UInt8(truncatingIfNeeded: gate), UInt8(gate >> 8))
        // The gate: offset 0x100100, selector 8, a present interrupt gate.
        var bytes: [UInt8] = [
            0xC7, 0x05, low, high, 0, 0, 0x00, 0x01, 0x08, 0x00,  // mov dword [gate], 0x00080100
            0xC7, 0x05, low + 4, high, 0, 0, 0x00, 0x8E, 0x10, 0x00,  // mov dword [gate + 4], 0x00108e00
            0x66, 0xC7, 0x05, 0x00, 0x30, 0, 0, 0xFF, 0x07,  // mov word [0x3000], 0x7ff
            0xC7, 0x05, 0x02, 0x30, 0, 0, 0x00, 0x20, 0, 0,  // mov dword [0x3002], 0x2000
            0x0F, 0x01, 0x1D, 0x00, 0x30, 0, 0,  // lidt [0x3000]
        ]
        bytes += code
        bytes += [UInt8](repeating: 0x90, count: 0x100 - bytes.count)
        return bytes + handler
    }

    private func machine(_ program: [UInt8], is64: Bool = false) throws -> OwnedMachine {
        let folder = try Folder()
        var configuration = MachineConfiguration()
        let file = try folder.file("a", MadeELF.one(program, at: 0x10_0000, is64: is64).bytes)
        configuration.image = try ImageRequest(path: file).load(configuration)
        return try OwnedMachine(configuration)
    }

    /// Two INTs and HLT, and a handler that adds to EBX and returns by IRET.
    private func interrupting(_ vector: UInt8) -> [UInt8] {
        program([0xCD, vector, 0xCD, vector, 0xF4], vector: vector, handler: [0x43, 0xCF])
    }

    /// Some hosts report nothing of vectors from 80h on.
    @Test(arguments: [0x40, 0x80, 0xFF] as [UInt8])
    func interruptsRunFreely(_ vector: UInt8) throws {
        let machine = try machine(interrupting(vector))
        #expect(try machine.runToStop().reason == .hlt)
        #expect(try machine.withVCPU(0) { try $0.registers() }.rbx == 2)
    }

    @Test func decimalAdjustment() throws {
        // mov al, 0xae; daa; out 0xe9, al; das; aaa; aas; fwait; hlt
        let machine = try machine([0xB0, 0xAE, 0x27, 0xE6, 0xE9, 0x2F, 0x37, 0x3F, 0x9B, 0xF4])
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.consoleOutput(.debug)?.bytes == [0x14])
    }

    @Test func accessRightsAndLimits() throws {
        // mov ecx, 8; lar eax, ecx; lsl edx, ecx; hlt
        let machine = try machine([0xB9, 8, 0, 0, 0, 0x0F, 0x02, 0xC1, 0x0F, 0x03, 0xD1, 0xF4])
        #expect(try machine.runToStop().reason == .hlt)
        let registers = try machine.withVCPU(0) { try $0.registers() }
        #expect(registers.rax & 0x00F0_FF00 == 0x00C0_9B00)
        #expect(registers.rdx == 0xFFFF_FFFF)
    }

    /// Stepped: INT ends at the handler's first instruction, IRET at the one after the INT.
    @Test(arguments: [0x40, 0x80] as [UInt8])
    func interruptsAreStepped(_ vector: UInt8) throws {
        let debugger = try Debugger(target: try machine(interrupting(vector)))
        for _ in 0..<5 { try debugger.step() }
        let start = debugger.selected.registers.rip
        try debugger.step()
        #expect(debugger.selected.registers.rip == 0x10_0100, "\(debugger.stop.reason)")
        try debugger.step()
        #expect(debugger.selected.registers.rip == 0x10_0101)
        try debugger.step()
        #expect(debugger.selected.registers.rip == start + 2, "\(debugger.stop.reason)")
        // Over it at once.
        try debugger.next()
        #expect(debugger.selected.registers.rip == start + 4, "\(debugger.stop.reason)")
        #expect(debugger.selected.registers.rbx == 2)
    }

    @Test func helpCanBeTurnedOff() throws {
        let machine = try machine([0xB0, 0x0F, 0x27, 0xF4])
        machine.assists = false
        let without = try machine.runToStop().reason
        // A host whose processor runs the guest needs no help.
        guard without != .hlt else {
            #expect(machine.assisted.isEmpty)
            return
        }
        guard case .internalError = without else {
            Issue.record("\(without)")
            return
        }
        machine.assists = true
        try machine.restart()
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.assisted.map(\.name) == ["daa"])
        #expect(machine.assisted.first?.count == 1)
    }

    /// What INT pushes meets a watchpoint on the stack.
    @Test func watchpointsSeeWhatIsPushed() throws {
        let debugger = try Debugger(target: try machine(interrupting(0x40)))
        for _ in 0..<5 { try debugger.step() }
        let slot = debugger.selected.registers.rsp - 12
        let watch = try debugger.setWatchpoint(at: .linear(slot), length: 4, access: .write)
        try debugger.step()
        guard case .watchpoint(let hits) = debugger.stop.reason else {
            Issue.record("\(debugger.stop.reason)")
            return
        }
        #expect(hits.map(\.number) == [watch.number])
    }

    @Test func sixteenBytesAreExchanged() throws {
        // mov esi, 0x8000; lock cmpxchg16b [rsi]; hlt; with all registers 0: memory is 0, so it is equal
        let machine = try machine([0xBE, 0, 0x80, 0, 0, 0xF0, 0x48, 0x0F, 0xC7, 0x0E, 0xF4], is64: true)
        #expect(try machine.runToStop().reason == .hlt)
        #expect(try machine.withVCPU(0) { try $0.registers() }.rflags.contains(.zf))
    }

    /// What the helper has not stops as it did: the guest's own mistake, or another unit's instruction.
    @Test func whatIsNotHelpedStops() throws {
        // fldpi; hlt
        let machine = try machine([0xD9, 0xEB, 0xF4])
        let reason = try machine.runToStop().reason
        if case .internalError = reason { return #expect(machine.assisted.isEmpty) }
        #expect(reason == .hlt)
    }
}
