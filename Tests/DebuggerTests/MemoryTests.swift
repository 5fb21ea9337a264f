import Debugger
import Expressions
import TargetConformance
import Testing
import X86

@Suite struct MemoryTests {
    /// 32-bit paging: linear 0x400000 -> 0x5000, 0x401000 not present, 0x402000 -> 0x7000, 0x403000 -> beyond RAM;
    /// and the code's page as it is.
    private func pagedGuest() throws -> Debugger {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x2000), bytes([0x4003, 0x3003], width: 4))
        try debugger.writeMemory(
            .physical(0x3000), bytes([0x5003, 0, 0x7003, 0x4000_0003], width: 4))
        try debugger.writeMemory(.physical(0x4000), bytes((0..<16).map { $0 << 12 | 3 }, width: 4))
        try debugger.setRegister("cr3", to: 0x2000)
        try debugger.setRegister("cr0", to: 0x8000_0011)
        try debugger.writeMemory(.physical(0x5FFE), [1, 2])
        try debugger.writeMemory(.physical(0x7000), [3, 4])
        return debugger
    }

    @Test func whatIsNotMappedIsSaid() throws {
        let debugger = try pagedGuest()
        #expect(try debugger.physical(.linear(0x40_0123)) == 0x5123)
        #expect(debuggerError { _ = try debugger.physical(.linear(0x40_1000)) }?.code == .unreadable)
        let image = try debugger.readMemory(.linear(0x40_0FFE), count: 0x1004)
        #expect(image[0] == 1 && image[1] == 2)
        #expect(image[2] == nil && image[0x1001] == nil)
        #expect(image[0x1002] == 3 && image[0x1003] == 4)
        #expect(image.gaps.map(\.range) == [2..<0x1002])
        #expect(image.gaps[0].reason.contains("not mapped"))
        #expect(image.value(at: 0, width: 2) == 0x201)
        #expect(image.value(at: 1, width: 2) == nil)
        let beyond = try debugger.readMemory(.linear(0x40_3000), count: 2)
        #expect(beyond.gaps.map(\.range) == [0..<2])
        #expect(beyond.gaps[0].reason.contains("no memory"))
    }

    /// Each page of a hole has a reason of its own: they are looked up for each byte.
    @Test func aHoleOfManyPages() throws {
        let (debugger, _) = try debugger()
        let image = try debugger.readMemory(.physical(0xF_FFFE), count: 1 << 20)
        #expect(image.gaps.count == 256)
        #expect(image[0] != nil && image[1] != nil)
        #expect((2..<1 << 20).allSatisfy { image[$0] == nil })
        #expect(image.value(at: 0, width: 2) != nil && image.value(at: 1, width: 2) == nil)
        #expect(image.value(at: 0x1000, width: 8) == nil)
        // Between two holes.
        var two = image
        two.gaps.removeSubrange(100..<102)
        let start = image.gaps[100].range.lowerBound
        #expect(two[start - 1] == nil && two[start] != nil && two[start + 0x1FFF] != nil)
        #expect(two[start + 0x2000] == nil && two.value(at: start + 0x1FFC, width: 8) == nil)
    }

    @Test func writingIsAllOrNothing() throws {
        let debugger = try pagedGuest()
        #expect(debuggerError { try debugger.writeMemory(.linear(0x40_0FFF), [9, 9]) }?.code == .unreadable)
        #expect(debuggerError { try debugger.writeMemory(.linear(0x40_2FFF), [9, 9]) }?.code == .unreadable)
        #expect(try debugger.readMemory(.physical(0x5FFF), count: 1).bytes == [2])
        #expect(try debugger.readMemory(.physical(0x7FFF), count: 1).bytes == [0])
        try debugger.writeMemory(.linear(0x40_0FFF), [7])
        #expect(try debugger.readMemory(.physical(0x5FFF), count: 1).bytes == [7])
    }

    @Test func sizesAreBounded() throws {
        let (debugger, _) = try debugger()
        #expect(debuggerError { _ = try debugger.readMemory(.linear(0), count: -1) }?.code == .outOfRange)
        #expect(debuggerError { _ = try debugger.readMemory(.linear(0), count: .max) }?.code == .outOfRange)
        #expect(try debugger.readMemory(.linear(0), count: 0).bytes.isEmpty)
        // The end of the address space is not the end of the program.
        let top = try debugger.readMemory(.physical(.max), count: 2)
        #expect(top[0] == nil)
        #expect(
            try debugger.readMemory(.linear(0xFFFF_FFFF), count: 2)[1] != nil,
            "linear addresses wrap at 4 GiB")
    }

    @Test(arguments: [
        (Address.segmented(.selector(0x1234), offset: 5), UInt64(0x12345)),
        (.segmented(.register(.es), offset: 0x10), 0x50010),
        // CS was loaded otherwise than by its selector, as at reset: its cached base counts.
        (.segmented(.selector(0xF000), offset: 0xFFF0), 0xFFFF_FFF0),
        (.linear(0x1_0000_7C00), 0x7C00), (.virtual(0x7C00), 0x7C00),
    ])
    func segmentsAddTheirBase(_ address: Address, _ linear: UInt64) throws {
        let (debugger, _) = try debugger()
        try debugger.setRegister("cs.base", to: 0xFFFF_0000)
        try debugger.setRegister("cs.selector", to: 0xF000)
        try debugger.setRegister("es", to: 0x5000)
        #expect(try debugger.linear(address) == linear)
    }

    @Test func selectorsNameDescriptorsInProtectedMode() throws {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(
            .physical(0x2000), bytes([0, 0x00CF_9B10_0000_FFFF, 0x00CF_9320_0000_FFFF], width: 8))
        try debugger.setRegister("gdtr.base", to: 0x2000)
        try debugger.setRegister("gdtr.limit", to: 0x17)
        try debugger.setRegister("cr0.pe", to: 1)
        #expect(try debugger.linear(.segmented(.selector(0x10), offset: 4)) == 0x20_0004)
        #expect(
            debuggerError { _ = try debugger.linear(.segmented(.selector(0x18), offset: 0)) }?.code
                == .badAddress)

        try debugger.setRegister("ds", to: 0x10)
        #expect(try debugger.registerValue("ds.base").bits == 0x20_0000)
        #expect(try debugger.registerValue("ds.limit").bits == 0xFFFF_FFFF)
        #expect(debuggerError { try debugger.setRegister("ds", to: 0x18) }?.code == .refused)
        #expect(
            debuggerError { try debugger.setRegister("cs", to: 0x10) }?.code == .refused, "data is no code")
        try debugger.setRegister("ds", to: 0x18, raw: true)
        #expect(try debugger.registerValue("ds.base").bits == 0x20_0000)
        #expect(try debugger.registerValue("ds.selector").bits == 0x18)
    }

    @Test func changesAreToTheByte() throws {
        let (debugger, _) = try debugger()
        let before = try debugger.readMemory(.linear(0x1000), count: 8)
        try debugger.writeMemory(.linear(0x1003), [1, 0, 1])
        let after = try debugger.readMemory(.linear(0x1000), count: 8)
        #expect(after.changed(since: before) == [3, 5])
        let moved = try debugger.readMemory(.linear(0x1002), count: 8)
        #expect(moved.changed(since: before) == [1, 3])
        #expect(try debugger.readMemory(.linear(0x9000), count: 8).changed(since: before).isEmpty)
    }

    @Test func codeAndStackFollowTheMode() throws {
        let (debugger, _) = try debugger([0xB8, 0x34, 0x12, 0xCD, 0x10, 0xF4])
        #expect(try debugger.disassemble(count: 3).map(\.ip) == [0x7C00, 0x7C03, 0x7C05])
        #expect(try debugger.disassemble(at: .segmented(.selector(0x7C0), offset: 3), count: 1)[0].ip == 3)
        #expect(try debugger.disassemble(before: .linear(0x7C05), count: 2).map(\.ip) == [0x7C00, 0x7C03])
        let line = try debugger.stopLine()
        #expect(line.physical == 0x7C00)
        #expect(line.code.bytes == [0xB8, 0x34, 0x12])

        try debugger.writeMemory(.linear(0x6FFE), [1, 2, 3, 4])
        try debugger.setRegister("rsp", to: 0x6FFE)
        let stack = try debugger.stack(count: 2)
        #expect(stack.map(\.value) == [0x201, 0x403])
        #expect(stack.map(\.offset) == [0x6FFE, 0x7000])
        try debugger.setRegister("rsp", to: 0xFFFE)
        #expect(try debugger.stack(count: 2).map(\.offset) == [0xFFFE, 0], "a 16-bit stack wraps")

        try debugger.setRegister("ss.db", to: 1)
        try debugger.setRegister("ss.base", to: 0x100_0000)
        #expect(try debugger.stack(count: 1).map(\.value) == [nil], "beyond RAM")
        #expect(try debugger.stack(count: 1).map(\.width) == [4])
        #expect(try debugger.disassemble(at: .linear(0x200_0000), count: 4).map(\.text) == ["??"])
    }
}
