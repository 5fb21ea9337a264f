import KVMCore
import SystemPackage
import Testing

@Suite struct GuestMemoryTests {
    private let memory: GuestMemory

    init() throws { memory = try GuestMemory(gpa: 0x10_0000, size: 0x2000) }

    @Test func startsAsZeroes() throws {
        #expect(try memory.read(0x10_0000, count: 0x2000) == [UInt8](repeating: 0, count: 0x2000))
    }

    @Test func bytesAreReadBack() throws {
        try memory.write(0x10_0FFE, [1, 2, 3, 4])
        #expect(try memory.read(0x10_0FFD, count: 6) == [0, 1, 2, 3, 4, 0])
        var buffer: [UInt8] = [9, 9, 9]
        try buffer.withUnsafeMutableBytes { try memory.read(0x10_0FFE, into: $0) }
        #expect(buffer == [1, 2, 3])
        try buffer.withUnsafeBytes { try memory.write(0x10_1FFD, $0) }
        #expect(try memory.read(0x10_1FFD, count: 3) == [1, 2, 3])
    }

    @Test func integersAreLittleEndianAndNeedNoAlignment() throws {
        try memory.store(0x1122_3344 as UInt32, at: 0x10_0001)
        #expect(try memory.read(0x10_0000, count: 6) == [0, 0x44, 0x33, 0x22, 0x11, 0])
        #expect(try memory.load(0x10_0001) as UInt32 == 0x1122_3344)
        #expect(try memory.load(0x10_0001, as: UInt16.self) == 0x3344)
        #expect(try memory.load(0x10_0001, as: UInt64.self) == 0x1122_3344)
        try memory.store(-2 as Int8, at: 0x10_1FFF)
        #expect(try memory.load(0x10_1FFF, as: Int8.self) == -2)
    }

    @Test func bytesAreLent() throws {
        let sum = try memory.withBytes(0x10_0010, count: 4) { bytes in
            for index in bytes.indices { bytes[index] = UInt8(index + 1) }
            return bytes.count
        }
        #expect(sum == 4)
        #expect(try memory.read(0x10_0010, count: 4) == [1, 2, 3, 4])
    }

    @Test(
        "accesses outside name the first address that is not there",
        arguments: [
            (0, 1, 0), (0xF_FFFF, 1, 0xF_FFFF), (0xF_FFFF, 2, 0xF_FFFF), (0x10_2000, 1, 0x10_2000),
            (0x10_1FFF, 2, 0x10_2000), (0x10_0000, 0x2001, 0x10_2000), (.max, 1, .max), (.max, 2, .max),
            (0x10_0000, .max, 0x10_2000),
        ] as [(UInt64, Int, UInt64)])
    func outside(gpa: UInt64, count: Int, first: UInt64) throws {
        let error = #expect(throws: GuestMemoryError.self) { _ = try memory.read(gpa, count: count) }
        #expect(error?.gpa == first)
        #expect(error?.start == gpa)
        #expect(throws: GuestMemoryError.self) { try memory.withBytes(gpa, count: count) { _ in } }
    }

    @Test func aRefusedWriteChangesNothing() throws {
        let error = #expect(throws: GuestMemoryError.self) { try memory.write(0x10_1FFE, [1, 2, 3]) }
        #expect(try memory.read(0x10_1FFE, count: 2) == [0, 0])
        #expect(
            error?.description
                == "no memory at guest-physical 0x102000 (3 bytes from 0x101ffe; there is 0x100000 to 0x101fff)"
        )
        #expect(throws: GuestMemoryError.self) { try memory.store(1 as UInt64, at: 0x10_1FF9) }
        #expect(throws: GuestMemoryError.self) { try memory.load(0x10_1FF9, as: UInt64.self) }
    }

    @Test func nothingMayBeReadAnywhereInside() throws {
        #expect(try memory.read(0x10_0000, count: 0).isEmpty)
        #expect(try memory.read(0x10_2000, count: 0).isEmpty)
        try memory.write(0x10_2000, [])
        #expect(throws: GuestMemoryError.self) { try memory.read(0x10_2001, count: 0) }
        #expect(throws: GuestMemoryError.self) { try memory.read(0x10_0000, count: -1) }
    }

    @Test(
        arguments: [(0, 0), (0, 4095), (1, 4096), (.max - 4095, 4096), (0, .max - 4095), (4096, .max - 4095)]
            as [(UInt64, UInt64)])
    func impossibleRangesAreRefused(gpa: UInt64, size: UInt64) {
        let error = #expect(throws: KVMError.self) { try GuestMemory(gpa: gpa, size: size) }
        #expect(error?.errno == .invalidArgument)
    }

    @Test func moreThanTheHostCanAddressIsNoMemory() {
        let error = #expect(throws: KVMError.self) { try GuestMemory(size: 1 << 62) }
        #expect(error?.errno == .noMemory)
    }
}
