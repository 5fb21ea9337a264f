import DebugTarget
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Debugger

/// What is said of KVM_EXIT_INTERNAL_ERROR, by the exit's data, registers and memory.
@Suite struct InternalErrorTests {
    private func cause(
        _ mode: FaultStage.Mode, memory code: [UInt8], error: InternalError,
        _ change: (inout FaultStage) -> Void = { _ in }
    ) -> InternalErrorCause {
        var stage = FaultStage(mode)
        for (place, byte) in code.enumerated() {
            stage.put(FaultStage.code + UInt64(place), UInt64(byte), size: 1)
        }
        change(&stage)
        let memory = FakeMemory(size: FaultStage.memorySize)
        stage.memory.withUnsafeBytes { try? memory.write(0, $0) }
        let scene = FaultScene(
            registers: stage.registers, view: LinearMemory(memory: memory, special: stage.special))
        return InternalErrorCause(error, scene) { _ in nil }
    }

    private func emulation(_ bytes: [UInt8] = []) -> InternalError {
        InternalError(suberror: 1, data: [bytes.isEmpty ? 0 : 1, 0, 0], instruction: bytes)
    }

    @Test func theBytesOfTheExitAreUsed() {
        // iretd; memory has been overwritten since.
        let found = cause(.protected, memory: [0x90, 0x90], error: emulation([0xCF, 0xF4]))
        #expect(found.kind == .notEmulated)
        #expect(found.code?.text == "iretd" && found.code?.bytes == [0xCF] && found.isFromExit)
    }

    @Test func withoutThemMemoryIsRead() {
        let found = cause(.protected, memory: [0xCF], error: emulation())
        #expect(found.kind == .notEmulated)
        #expect(found.code?.text == "iretd" && !found.isFromExit)
    }

    @Test func bytesThatEndWithinTheInstructionAreTakenOnFromMemory() {
        // mov eax, [12345678]
        let code: [UInt8] = [0xA1, 0x78, 0x56, 0x34, 0x12]
        let found = cause(.protected, memory: code, error: emulation([0xA1, 0x78]))
        #expect(found.code?.bytes == code)
        #expect(found.kind == .deviceAccess(gpa: 0x1234_5678))
    }

    @Test func theModeDecidesWhatTheBytesAre() {
        // F3 0F 1E FA is a NOP's neighbour in 32-bit code and ENDBR64 in 64-bit code.
        #expect(cause(.long, memory: [0xF3, 0x0F, 0x1E, 0xFA], error: emulation()).code?.text == "endbr64")
        #expect(cause(.real, memory: [0xCF], error: emulation()).code?.text == "iret")
    }

    @Test func whatIsNoInstructionIsSaid() {
        #expect(cause(.protected, memory: [0x0F, 0xB9, 0xC0], error: emulation()).kind == .noInstruction)
        #expect(cause(.protected, memory: [0x0F, 0x24, 0xC0], error: emulation()).kind == .noInstruction)
    }

    @Test func zerosAndNoMemoryAreSaid() {
        #expect(cause(.real, memory: [], error: emulation()).kind == .zeros)
        let nowhere = cause(.protected, memory: [], error: emulation()) { $0.registers.rip = 0xE000_0000 }
        #expect(nowhere.kind == .noMemory(linear: 0xE000_0000, gpa: 0xE000_0000))
        let unmapped = cause(.long, memory: [], error: emulation()) { $0.registers.rip = 0x4000_0000 }
        #expect(unmapped.kind == .noMemory(linear: 0x4000_0000, gpa: nil))
    }

    @Test func theOtherSuberrorsGiveTheirData() {
        func kind(_ suberror: UInt32, _ data: [UInt64]) -> InternalErrorCause.Kind {
            cause(.protected, memory: [0x90], error: InternalError(suberror: suberror, data: data)).kind
        }
        #expect(kind(2, [0x8000_0B0E, 0x8000_030D, 0]) == .simultaneous(first: 14, second: 13))
        #expect(kind(3, [0x8000_0308, 48, 0]) == .delivery(vector: 8, hardwareReason: 48))
        #expect(kind(4, [0x99]) == .exitReason(0x99))
        #expect(kind(9, []) == .unknown)
        // A kernel that gives no data at all.
        #expect(kind(3, []) == .delivery(vector: 0, hardwareReason: 0))
    }
}
