import CKVM
import SystemPackage
import Testing
import X86

@testable import KVMCore

/// Devices, attributes, system-management mode, nested guests and dirty rings.
@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct DeviceTests {
    @Test func aKindThatThereIsNotIsRefused() throws {
        let vm = try KVM.open().createVM()
        let none = KVMDevice.Kind(rawValue: 0xFFFF)
        let canBeMade = vm.canCreateDevice(none)
        #expect(!canBeMade)
        let error = #expect(throws: KVMError.self) { _ = try vm.createDevice(none) }
        #expect(error?.operation == "KVM_CREATE_DEVICE")
        #expect(error?.errno == .operationNotSupportedByDevice)
        #expect(error?.advice == "this KVM has no device of type 65535")
    }

    @Test(.enabled(if: HostTrial.hasVFIODevice, "needs a kernel with CONFIG_KVM_VFIO"))
    func aDeviceHasAttributes() throws {
        let vm = try KVM.open().createVM()
        let device = try vm.createDevice(.vfio)
        let attributes = [.vfioAdd, .vfioRemove, DeviceAttribute(group: 99, number: 0)].map { device.has($0) }
        #expect(attributes == [true, true, false])
        // No descriptor of VFIO's.
        let event = try EventFD()
        #expect(throws: KVMError.self) { try device.set(.vfioAdd, [UInt64(event.descriptor)]) }
        let unknown = #expect(throws: KVMError.self) {
            try device.set(DeviceAttribute(group: 99, number: 7), [0])
        }
        #expect(unknown?.errno == .noSuchAddressOrDevice)
        #expect(unknown?.advice == "there is no attribute 7 in group 99")
        let second = #expect(throws: KVMError.self) { _ = try vm.createDevice(.vfio) }
        #expect(second?.advice == "the VM has such a device already")
    }

    @Test(
        .enabled(
            if: HostTrial.keepsTSCOffset,
            "needs KVM_VCPU_TSC_OFFSET (Linux 5.16) and a stable TSC"))
    func theTSCIsMovedByAnAttribute() throws {
        let guest = try Guest([0xF4])
        #expect(guest.vcpu.hasAttribute(.tscOffset))
        let offset: UInt64 = 0x0123_4567_89AB_CDEF
        try guest.vcpu.setAttribute(.tscOffset, offset)
        #expect(try guest.vcpu.attribute(.tscOffset) == offset)
        // IA32_TSC.
        #expect(try guest.vcpu.msr(0x10) > offset)
    }

    @Test(.enabled(if: HostTrial.has(.vcpuAttributes), "needs KVM_CAP_VCPU_ATTRIBUTES, since Linux 5.16"))
    func anAttributeThatThereIsNotIsNamed() throws {
        let guest = try Guest([0xF4])
        let unknown = DeviceAttribute(group: 0, number: 99)
        #expect(!guest.vcpu.hasAttribute(unknown))
        let error = #expect(throws: KVMError.self) { try guest.vcpu.attribute(unknown) }
        #expect(error?.operation == "KVM_GET_DEVICE_ATTR")
        #expect(error?.errno == .noSuchAddressOrDevice)
    }

    // MARK: SMM

    @Test(.enabled(if: HostTrial.has(.x86SMM), "needs KVM_CAP_X86_SMM"))
    func anSMIRunsItsHandlerInItsOwnMemory() throws {
        let kvm = try KVM.open()
        let vm = try kvm.createVM()
        let memory = try GuestMemory(size: 0x10000)
        // Memory that is seen in system-management mode alone; the handler is at SMBASE + 0x8000. SDM volume 3C, 32.4.
        let smram = try GuestMemory(gpa: 0x30000, size: 0x10000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        try vm.setMemoryRegion(slot: 1 << 16, gpa: 0x30000, memory: smram)
        let vcpu = try vm.createVCPU(id: 0)
        try vcpu.setCPUID(try kvm.supportedCPUID())
        try memory.write(0x1000, [0x90, 0xE6, 0x80, 0xF4])  // nop; out 0x80, al; hlt
        try smram.write(0x38000, [0xE6, 0x81, 0x0F, 0xAA])  // out 0x81, al; rsm
        try vcpu.enterRealMode(at: 0x1000)
        try vcpu.smi()
        #expect(try vcpu.run().portIO?.port == 0x81)
        #expect(try vcpu.completeIO() == .interrupted)
        #expect(try vcpu.events().inSystemManagementMode)
        #expect(try vcpu.specialRegisters().cs.base == 0x30000)
        #expect(try vcpu.run().portIO?.port == 0x80)
        #expect(try vcpu.completeIO() == .interrupted)
        #expect(try !vcpu.events().inSystemManagementMode)
        #expect(try vcpu.registers().rip == 0x1003)
    }

    @Test(.enabled(if: !HostTrial.has(.x86SMM) && liveTestsRun, "needs a KVM without KVM_CAP_X86_SMM"))
    func withoutTheModeAnSMIIsRefused() throws {
        let error = #expect(throws: KVMError.self) { try Guest([0xF4]).vcpu.smi() }
        #expect(error?.operation == "KVM_SMI")
        #expect(error?.advice?.contains("KVM_CAP_X86_SMM") == true)
    }

    // MARK: Nested guests

    @Test(.enabled(if: HostTrial.has(.nestedState), "needs KVM_CAP_NESTED_STATE"))
    func nestedStateIsSetAndReadBack() throws {
        let guest = try Guest([0xF4])
        let state = try guest.vcpu.nestedState()
        #expect(state.header.count == 120)
        #expect(!state.flags.contains(.guestMode))
        try guest.vcpu.setNestedState(state)
        #expect(try guest.vcpu.nestedState() == state)
        var wrong = state
        wrong.format = .other(0x7777)
        let error = #expect(throws: KVMError.self) { try guest.vcpu.setNestedState(wrong) }
        #expect(error?.operation == "KVM_SET_NESTED_STATE")
        #expect(error?.errno == .invalidArgument)
        #expect(try guest.vcpu.nestedState() == state)
    }

    @Test(.enabled(if: !HostTrial.has(.nestedState) && liveTestsRun, "needs a KVM without nested guests"))
    func withoutNestedGuestsTheirStateIsRefused() throws {
        let error = #expect(throws: KVMError.self) { try Guest([0xF4]).vcpu.nestedState() }
        #expect(error?.operation == "KVM_GET_NESTED_STATE")
        #expect(error?.advice?.contains("KVM_CAP_NESTED_STATE") == true)
    }

    // MARK: Dirty rings

    @Test(.enabled(if: HostTrial.has(.dirtyLogRing), "needs KVM_CAP_DIRTY_LOG_RING"))
    func writtenPagesComeOutOfTheRing() throws {
        let vm = try KVM.open().createVM()
        for size in [-1, 0, 4095, 3 << 14] {
            let error = #expect(throws: KVMError.self) { try vm.enableDirtyRing(size: size) }
            #expect(error?.errno == .invalidArgument || error?.errno == .argListTooLong)
        }
        try vm.enableDirtyRing(size: 65536)
        let memory = try GuestMemory(size: 0x10000)
        try vm.setMemoryRegion(slot: 3, gpa: 0, memory: memory, flags: .logDirtyPages)
        let vcpu = try vm.createVCPU(id: 0)
        try memory.write(
            0x1000,
            [
                0xC6, 0x06, 0x00, 0x50, 0x01,  // mov byte [0x5000], 1
                0xC6, 0x06, 0xFF, 0x9F, 0x01,  // mov byte [0x9FFF], 1
                0xF4,  // hlt
            ])
        let written = [DirtyPage(slot: 3, page: 5), DirtyPage(slot: 3, page: 9)]
        let code = DirtyPage(slot: 3, page: 1)
        try vcpu.enterRealMode(at: 0x1000)
        #expect(try vcpu.run() == .hlt)
        let first = vcpu.takeDirtyPages()
        // The page of the code is mapped writable at the first access: see dirtyLog(slot:).
        #expect(first.filter { $0 != code } == written)
        #expect(vcpu.takeDirtyPages().isEmpty)
        #expect(try vm.resetDirtyRings() == first.count)
        #expect(try vm.resetDirtyRings() == 0)
        try vcpu.enterRealMode(at: 0x1000)
        #expect(try vcpu.run() == .hlt)
        #expect(vcpu.takeDirtyPages() == written)

        let log = #expect(throws: KVMError.self) { try vm.dirtyLog(slot: 3) }
        #expect(log?.errno == .noSuchAddressOrDevice)
        #expect(log?.advice?.contains("takeDirtyPages") == true)
    }

    @Test func withoutRingsThereIsNothingToTakeOrReset() throws {
        let guest = try Guest([0xF4])
        #expect(guest.vcpu.takeDirtyPages().isEmpty)
        let error = #expect(throws: KVMError.self) { try guest.vm.resetDirtyRings() }
        #expect(error?.operation == "KVM_RESET_DIRTY_RINGS")
    }
}

/// What is decided without the kernel.
@Suite struct NestedStateTests {
    @Test(arguments: [NestedState.Format.vmx, .svm, .other(7)])
    func statesRoundTrip(format: NestedState.Format) throws {
        let channel = FakeChannel()
        let file = ScratchFile(size: 12288)
        let vcpu = try VCPU(
            id: 0, descriptor: 1, channel: channel, localDescriptor: file.descriptor, mappingSize: 12288)
        let state = NestedState(
            format: format, flags: [.guestMode, .globalInterruptFlag], header: (0..<120).map { UInt8($0) },
            data: [UInt8](repeating: 0x5A, count: 4096))
        try vcpu.setNestedState(state)
        // As the kernel does: too short a buffer is told how long it has to be.
        channel.kernelTellsSizes(of: ckvm_get_nested_state)
        #expect(try vcpu.nestedState() == state)
        #expect(channel.calls.map(\.size) == [4224, 128, 4224])
    }

    @Test func hostileAnswersEnd() throws {
        for size in [0, 127, 129, UInt32.max] {
            var bytes = [UInt8](repeating: 0, count: 128)
            bytes.store(size, at: 4)
            #expect(NestedState(bytes) == nil)
        }
        let state = NestedState(format: .vmx, flags: [], header: [1, 2, 3])
        #expect(state.encoded == nil)
    }
}

@Suite struct DirtyRingTests {
    /// Entries are taken in order, round the ring, up to the first that is not dirty.
    @Test func entriesAreTakenInOrderAndMarked() throws {
        let mapping = try Mapping(anonymous: 4096)
        let entries = mapping.address
        func put(_ index: Int, flags: UInt32, slot: UInt32 = 0, page: UInt64 = 0) {
            entries.storeBytes(of: slot, toByteOffset: index * 16 + 4, as: UInt32.self)
            entries.storeBytes(of: page, toByteOffset: index * 16 + 8, as: UInt64.self)
            entries.storeBytes(of: flags, toByteOffset: index * 16, as: UInt32.self)
        }
        func flags(_ index: Int) -> UInt32 {
            entries.loadUnaligned(fromByteOffset: index * 16, as: UInt32.self)
        }
        var ring = DirtyRing(mapping)
        #expect(ring.take().isEmpty)
        put(0, flags: 1, slot: 1 << 16, page: 7)
        put(1, flags: 1, slot: 2, page: 8)
        put(3, flags: 1, slot: 4, page: 9)
        #expect(ring.take() == [DirtyPage(slot: 1 << 16, page: 7), DirtyPage(slot: 2, page: 8)])
        #expect(flags(0) == 3 && flags(1) == 3 && flags(3) == 1)
        // The kernel has reset them, and filled the gap; then all the others and the first again.
        put(2, flags: 1, slot: 3, page: 10)
        #expect(ring.take().map(\.page) == [10, 9])
        for index in 4..<256 { put(index, flags: 1, page: UInt64(index)) }
        put(0, flags: 1, page: 1000)
        put(1, flags: 0)
        #expect(ring.take().map(\.page) == Array(4..<256) + [1000])
        #expect(ring.take().isEmpty)
    }
}
