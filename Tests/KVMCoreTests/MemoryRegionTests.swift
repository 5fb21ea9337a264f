import KVMCore
import SystemPackage
import Testing

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct MemoryRegionTests {
    @Test func overlapNamesTheOtherSlot() throws {
        let vm = try KVM.open().createVM()
        let memory = try GuestMemory(size: 0x4000)
        try vm.setMemoryRegion(slot: 3, gpa: 0x10000, memory: memory)
        let error = #expect(throws: KVMError.self) {
            try vm.setMemoryRegion(slot: 4, gpa: 0x13000, memory: memory)
        }
        #expect(error?.operation == "KVM_SET_USER_MEMORY_REGION")
        #expect(error?.errno == .fileExists)
        #expect(error?.advice == "0x13000 to 0x16fff overlaps slot 3, which has 0x10000 to 0x13fff")
        #expect(vm.memorySlots.map(\.slot) == [3])
        try vm.setMemoryRegion(slot: 4, gpa: 0x14000, memory: memory)
        #expect(vm.memorySlots.map(\.gpa) == [0x10000, 0x14000])
    }

    @Test func aSlotIsSplitMovedAndRemoved() throws {
        let vm = try KVM.open().createVM()
        let memory = try GuestMemory(size: 0x3000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        try vm.removeMemoryRegion(slot: 0)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory, offset: 0, size: 0x1000)
        try vm.setMemoryRegion(
            slot: 1, gpa: 0x1000, memory: memory, offset: 0x1000, size: 0x1000, flags: .readOnly)
        try vm.setMemoryRegion(slot: 2, gpa: 0x2000, memory: memory, offset: 0x2000, size: 0x1000)
        let host = UInt64(memory.hostAddress)
        #expect(vm.memorySlots.map(\.hostAddress) == [host, host + 0x1000, host + 0x2000])
        try vm.setMemoryRegion(slot: 2, gpa: 0x8000, memory: memory, offset: 0x2000, size: 0x1000)
        #expect(vm.memorySlots.last?.gpa == 0x8000)
    }

    @Test func whatKVMDoesNotTakeIsExplained() throws {
        let vm = try KVM.open().createVM()
        let memory = try GuestMemory(size: 0x4000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        let slots = UInt32(vm.check(.nrMemslots))
        func advice(_ body: () throws -> Void) -> String? {
            let error = #expect(throws: KVMError.self, performing: body)
            #expect(error?.errno == .invalidArgument)
            return error?.advice
        }
        #expect(
            advice { try vm.setMemoryRegion(slot: slots, gpa: 0x10000, memory: memory) }
                == "slots are 0 to \(slots - 1) (KVM_CAP_NR_MEMSLOTS is \(slots))")
        #expect(
            advice { try vm.setMemoryRegion(slot: 1, gpa: 0x10800, memory: memory) }
                == "address, offset and size must be multiples of 4096")
        #expect(advice { try vm.removeMemoryRegion(slot: 9) } == "there is no slot 9")
        #expect(
            advice { try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory, flags: .readOnly) }?
                .contains("remove it before") == true)
        #expect(
            advice {
                try vm.setMemoryRegion(slot: 1, gpa: 0x10000, memory: memory, offset: 0x3000, size: 0x2000)
            }?
            .contains("do not lie in memory") == true)
        #expect(
            advice { try vm.setMemoryRegion(slot: 1, gpa: 0x10000, memory: memory, offset: .max, size: 2) }
                != nil)
        #expect(
            advice {
                try vm.setRemoteMemoryRegion(
                    MemorySlot(slot: 1, gpa: 0x10000, size: 4096, hostAddress: 0x1000, flags: []))
            } != nil)
        #expect(vm.memorySlots.map(\.slot) == [0])
    }

    @Test func aWriteToReadOnlyMemoryExitsBeforeItChanges() throws {
        let guest = try Guest([
            0xA1, 0x00, 0x20,  // mov ax, [0x2000]
            0xA3, 0x02, 0x20,  // mov [0x2002], ax
            0xF4,  // hlt
        ])
        try guest.vm.removeMemoryRegion(slot: 0)
        try guest.vm.setMemoryRegion(slot: 0, gpa: 0, memory: guest.memory, flags: .readOnly)
        try guest.memory.store(0x1234 as UInt16, at: 0x2000)
        #expect(
            try guest.vcpu.run()
                == .mmio(MMIO(gpa: 0x2002, isWrite: true, data: AccessData(value: 0x1234, count: 2))))
        #expect(try guest.memory.load(0x2002, as: UInt16.self) == 0)
        #expect(try guest.vcpu.run() == .hlt)
    }

    @Test func writtenPagesAreLoggedOnce() throws {
        let guest = try Guest(
            [
                0xC6, 0x06, 0x00, 0x50, 0x01,  // mov byte [0x5000], 1
                0xC6, 0x06, 0xFF, 0x9F, 0x01,  // mov byte [0x9FFF], 1
                0xF4,  // hlt
            ], flags: .logDirtyPages)
        _ = try guest.vm.dirtyLog(slot: 0)
        #expect(try guest.vcpu.run() == .hlt)
        let log = try guest.vm.dirtyLog(slot: 0)
        #expect(log.pageCount == 16)
        // Page 1 holds the code. A page that is new to KVM is mapped writable, and counts as written.
        #expect(log.pages.filter { $0 != 1 } == [5, 9])
        #expect(try guest.vm.dirtyLog(slot: 0).pages.isEmpty)
        // The second time it is mapped, and read-only since the log was read.
        try guest.vcpu.enterRealMode(at: Guest.start)
        #expect(try guest.vcpu.run() == .hlt)
        #expect(try guest.vm.dirtyLog(slot: 0).pages == [5, 9])
    }

    @Test func theLogIsClearedByHandWhenAskedFor() throws {
        let kvm = try KVM.open()
        let vm = try kvm.createVM()
        try vm.enable(.manualDirtyLogProtect2, arguments: SIMD4(1, 0, 0, 0))
        let memory = try GuestMemory(size: 0x10000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory, flags: .logDirtyPages)
        let vcpu = try vm.createVCPU(id: 0)
        try memory.write(0x1000, [0xC6, 0x06, 0x00, 0x50, 0x01, 0xF4])  // mov byte [0x5000], 1; hlt
        try vcpu.enterRealMode(at: 0x1000)
        #expect(try vcpu.run() == .hlt)
        // Page 1 holds the code, and is mapped writable at the first access.
        let first = try vm.dirtyLog(slot: 0)
        #expect(first.pages.filter { $0 != 1 } == [5])
        #expect(try vm.dirtyLog(slot: 0) == first)
        try vm.clearDirtyLog(slot: 0, firstPage: 0, pageCount: 16, bitmap: [1 << 5])
        #expect(try vm.dirtyLog(slot: 0).pages == first.pages.filter { $0 != 5 })
        try vm.clearDirtyLog(slot: 0, firstPage: 0, pageCount: 16, bitmap: [.max])
        #expect(try vm.dirtyLog(slot: 0).pages.isEmpty)
        try vcpu.enterRealMode(at: 0x1000)
        #expect(try vcpu.run() == .hlt)
        #expect(try vm.dirtyLog(slot: 0).pages == [5])
        for (first, count) in [(1, 15), (0, 15), (0, 17), (-64, 16), (0, 0), (17, 1), (0, .max)] {
            let error = #expect(throws: KVMError.self) {
                try vm.clearDirtyLog(slot: 0, firstPage: first, pageCount: count, bitmap: [1])
            }
            #expect(error?.errno == .invalidArgument)
        }
        #expect(throws: KVMError.self) {
            try vm.clearDirtyLog(slot: 0, firstPage: 0, pageCount: 16, bitmap: [])
        }
    }

    @Test func aRegionIsReadAsTheKernelReadsIt() throws {
        // slot 0x10002, flags 3, guest_phys_addr, memory_size, userspace_addr.
        let words: [UInt64] = [0x3_0001_0002, 0x1000, 0x2000, 0x7F00_0000_3000, .max]
        let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
        #expect(
            MemorySlot(bytes)
                == MemorySlot(
                    slot: 0x10002, gpa: 0x1000, size: 0x2000, hostAddress: 0x7F00_0000_3000,
                    flags: [.logDirtyPages, .readOnly]))
        #expect(MemorySlot(Array(bytes.prefix(32))) != nil)
        #expect(MemorySlot(Array(bytes.prefix(31))) == nil)
    }

    @Test func noLogWithoutTheFlag() throws {
        let vm = try KVM.open().createVM()
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: try GuestMemory(size: 0x1000))
        let error = #expect(throws: KVMError.self) { try vm.dirtyLog(slot: 0) }
        #expect(error?.errno == .noSuchFileOrDirectory)
        #expect(error?.advice == "slot 0 was set without the dirty log flag")
    }
}
