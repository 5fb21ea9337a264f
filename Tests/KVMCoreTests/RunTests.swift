import KVMCore
import Testing
import X86

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct RunTests {
    @Test func outExitsWithItsPayloadAndThenHalts() throws {
        let guest = try Guest([
            0xB0, 0x41,  // mov al, 'A'
            0xE6, 0xE9,  // out 0xE9, al
            0x66, 0xB8, 0x44, 0x33, 0x22, 0x11,  // mov eax, 0x11223344
            0xBA, 0x34, 0x12,  // mov dx, 0x1234
            0x66, 0xEF,  // out dx, eax
            0xF4,  // hlt
        ])
        #expect(
            try guest.vcpu.run()
                == .io(
                    PortIO(direction: .out, port: 0xE9, size: 1, data: AccessData(value: 0x41, count: 1))))
        #expect(guest.vcpu.isIOPending)
        #expect(
            try guest.vcpu.run()
                == .io(
                    PortIO(
                        direction: .out, port: 0x1234, size: 4,
                        data: AccessData(value: 0x1122_3344, count: 4))))
        #expect(try guest.vcpu.run() == .hlt)
        #expect(!guest.vcpu.isIOPending)
        #expect(try guest.vcpu.registers().rip == Guest.start + 16)
    }

    @Test(arguments: [(1, 0x5A as UInt64), (2, 0xBEEF), (4, 0xDEAD_BEEF)])
    func inIsAnsweredAndCompletedWithoutRunningOn(size: Int, value: UInt64) throws {
        let access: [UInt8] =
            switch size {
            case 1: [0xEC]  // in al, dx
            case 2: [0xED]  // in ax, dx
            default: [0x66, 0xED]  // in eax, dx
            }
        let guest = try Guest([0xBA, 0x00, 0x02] + access + [0xF4])  // mov dx, 0x200 ... hlt
        let io = try #require(try guest.vcpu.run().portIO)
        #expect(
            io == PortIO(direction: .in, port: 0x200, size: size, data: AccessData(value: 0, count: size)))
        try guest.vcpu.answer(io: UInt32(value))
        #expect(try guest.vcpu.completeIO() == .interrupted)
        let registers = try guest.vcpu.registers()
        #expect(registers.rax == value)
        #expect(registers.rip == Guest.start + 3 + UInt64(access.count))
        #expect(!guest.vcpu.isIOPending)
        // Nothing is pending: no call is made, and the guest has not moved.
        #expect(try guest.vcpu.completeIO() == .interrupted)
        #expect(try guest.vcpu.run() == .hlt)
    }

    @Test func stringOutputArrivesWhole() throws {
        let text = Array("hello, port".utf8)
        let guest = try Guest([
            0xBE, 0x00, 0x20,  // mov si, 0x2000
            0xB9, UInt8(text.count), 0x00,  // mov cx, count
            0xBA, 0xE9, 0x00,  // mov dx, 0xE9
            0xF3, 0x6E,  // rep outsb
            0xF4,  // hlt
        ])
        try guest.memory.write(0x2000, text)
        var written: [UInt8] = []
        while let io = try guest.vcpu.run().portIO {
            #expect(io.direction == .out && io.port == 0xE9 && io.size == 1)
            if io.count > 1 {
                #expect(io.string.count == io.count)
                #expect(io.data.value == UInt64(io.string[0]))
                written += io.string
            } else {
                written.append(UInt8(truncatingIfNeeded: io.data.value))
            }
        }
        #expect(written == text)
        #expect(try guest.vcpu.registers().rcx == 0)
    }

    @Test func stringInputTakesAllBytes() throws {
        let guest = try Guest([
            0xBF, 0x00, 0x30,  // mov di, 0x3000
            0xB9, 0x06, 0x00,  // mov cx, 6
            0xBA, 0x00, 0x02,  // mov dx, 0x200
            0xF3, 0x6C,  // rep insb
            0xF4,  // hlt
        ])
        var next: UInt8 = 1
        var exit = try guest.vcpu.run()
        while let io = exit.portIO {
            #expect(io.direction == .in)
            #expect(throws: KVMError.self) {
                try guest.vcpu.answer(io: [UInt8](repeating: 0, count: io.count + 1))
            }
            try guest.vcpu.answer(io: (0..<io.count).map { next + UInt8($0) })
            next += UInt8(io.count)
            exit = try guest.vcpu.run()
        }
        #expect(exit == .hlt)
        #expect(try guest.memory.read(0x3000, count: 6) == [1, 2, 3, 4, 5, 6])
    }

    @Test func memoryMappedIOIsWrittenAndRead() throws {
        let guest = try Guest([
            0xB8, 0x00, 0xB8,  // mov ax, 0xB800
            0x8E, 0xD8,  // mov ds, ax
            0xC7, 0x06, 0x10, 0x00, 0x34, 0x12,  // mov word [0x10], 0x1234
            0xA1, 0x20, 0x00,  // mov ax, [0x20]
            0xF4,  // hlt
        ])
        #expect(
            try guest.vcpu.run()
                == .mmio(MMIO(gpa: 0xB8010, isWrite: true, data: AccessData(value: 0x1234, count: 2))))
        #expect(throws: KVMError.self) { try guest.vcpu.answer(mmio: 1) }
        #expect(
            try guest.vcpu.run()
                == .mmio(MMIO(gpa: 0xB8020, isWrite: false, data: AccessData(value: 0, count: 2))))
        try guest.vcpu.answer(mmio: 0xCAFE_BABE)
        #expect(try guest.vcpu.completeIO() == .interrupted)
        #expect(try guest.vcpu.registers().rax == 0xBABE)
        #expect(try guest.vcpu.run() == .hlt)
    }
}
