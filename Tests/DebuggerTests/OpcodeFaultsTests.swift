import DebugTarget
import TargetConformance
import Testing
import X86

@testable import Debugger

/// Which exceptions an instruction can raise.
@Suite struct OpcodeFaultsTests {
    @Test(
        arguments: [
            // inc ax; nop; mov ax, 1; jmp; lea; cpuid
            ([0x40], false, []), ([0x90], true, []), ([0xB8, 1, 0], false, []), ([0x8D, 0x07], false, []),
            ([0x0F, 0xA2], true, []),
            // div cx, and of memory; test cx, 1; aam
            ([0xF7, 0xF1], false, .divides), ([0xF7, 0x37], false, [.divides, .memory]),
            ([0xF7, 0xC1], false, []), ([0xD4, 0x00], false, .divides), ([0xD4, 0x00], true, .undefined),
            // add ax, bx and add [bx], ax; with prefixes
            ([0x01, 0xD8], false, []), ([0x01, 0x07], false, .memory), ([0x48, 0x01, 0x07], true, .memory),
            ([0xF0, 0x01, 0x07], false, [.memory, .undefined]),
            ([0x50], true, .stack), ([0xC3], false, [.stack, .privileged]), ([0x9B], false, .floats),
            ([0xD9, 0xE8], false, .floats), ([0xD9, 0x07], false, [.floats, .memory]),
            ([0x8E, 0xD8], false, .segment), ([0x8E, 0xC8], false, [.segment, .undefined]),
            ([0xC7, 0x07, 0, 0], false, .memory), ([0xFA], false, .privileged),
            ([0x0F, 0x0B], false, [.undefined, .privileged, .memory, .segment]),
            ([0x62, 0x07], false, [.bounds, .memory, .vectors, .undefined]),
            ([], false, [.undefined, .privileged, .memory]),
        ] as [([UInt8], Bool, OpcodeFaults)])
    func flags(_ code: [UInt8], _ isLong: Bool, _ expected: OpcodeFaults) {
        var word: UInt64 = 0
        for (i, byte) in code.enumerated() { word |= UInt64(byte) << UInt64(i * 8) }
        #expect(OpcodeFaults(bytes: word, count: code.count, isLong: isLong) == expected)
    }

    @Test func handlersAreReadFromTheTable() throws {
        let ram = FakeMemory(size: 1 << 16)
        func put(_ gpa: UInt64, _ bytes: [UInt8]) throws {
            try bytes.withUnsafeBytes { try ram.write(gpa, $0) }
        }
        var special = SpecialRegisters()
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        let registers = GeneralRegisters()
        func view() -> LinearMemory { LinearMemory(memory: ram, special: special) }
        try put(0, [0x00, 0x7D, 0, 0])
        try put(13 * 4, [0x10, 0x7D, 0, 0])
        try put(12 * 4, [0x10, 0x7D, 0, 0])
        let divide: OpcodeFaults = [.divides, .memory]
        #expect(divide.handlers(registers, view(), at: 0x7C00) == [0x7D00, 0x7D10], "each once")
        #expect(divide.handlers(registers, view(), at: 0x7D00) == [0x7D10], "not the instruction itself")
        // #DE's gate is no gate: #GP, whose gate leads somewhere.
        special.cr0 = [.pe]
        special.idt = DescriptorTable(base: 0x1000, limit: 0xFF)
        special.gdt = DescriptorTable(base: 0x2000, limit: 0xF)
        try put(0x2008, [0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0])
        try put(0x1000 + 13 * 8, [0x30, 0x12, 0x08, 0, 0, 0x8E, 0, 0])
        #expect(OpcodeFaults.divides.handlers(registers, view(), at: 0x7C00) == [0x1230])
        // With paging the instruction itself may not be there.
        special.cr0 = [.pe, .pg]
        #expect(OpcodeFaults([]).vectors(registers, special) == [14])
    }
}
