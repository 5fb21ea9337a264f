import Glibc
import KVMCore
import SystemPackage
import Testing
import X86

/// The targets of this process's descriptors, as /proc has them.
private func descriptorNames() -> [String] {
    (0..<1024).compactMap { descriptor in
        var buffer = [CChar](repeating: 0, count: 256)
        let count = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count)
        return count > 0
            ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }
}

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"), .serialized)
struct VCPUCreationTests {
    private let kvm: KVMBox

    /// The open device, in a class because a suite is copied.
    private final class KVMBox {
        let kvm: KVM
        init(_ kvm: consuming KVM) { self.kvm = kvm }
    }

    init() throws { kvm = KVMBox(try KVM.open()) }

    @Test func aVCPUIsADescriptorOfItsOwn() throws {
        let vm = try kvm.kvm.createVM()
        // An id that no other test uses: tests of other suites run at the same time.
        let vcpu = try vm.createVCPU(id: 3141)
        #expect(vcpu.id == 3141)
        #expect(descriptorNames().contains("anon_inode:kvm-vcpu:3141"))
        let cost = try #require(vcpu.creationCost)
        #expect(cost.create > .zero && cost.map > .zero)
        #expect(try vcpu.mpState() == .runnable)
        // As after reset: SDM volume 3A, table 9-1.
        #expect(try vcpu.registers().rip == 0xFFF0)
        #expect(try vcpu.specialRegisters().cs.base == 0xFFFF_0000)
        #expect(try vcpu.specialRegisters().cs.selector == 0xF000)
    }

    @Test func descriptorsAndMappingsAreClosed() throws {
        do {
            let vm = try kvm.kvm.createVM()
            let vcpu = try vm.createVCPU(id: 2718)
            let exit = vcpu.immediateExit
            exit.request()
        }
        #expect(!descriptorNames().contains("anon_inode:kvm-vcpu:2718"))
    }

    @Test func aTakenIDIsRefusedAndTheVMGoesOn() throws {
        let vm = try kvm.kvm.createVM()
        let first = try vm.createVCPU(id: 5)
        let error = #expect(throws: KVMError.self) { _ = try vm.createVCPU(id: 5) }
        #expect(error?.errno == .fileExists)
        #expect(error?.advice == "vCPU id 5 is taken in this VM; choose another")
        _ = try vm.createVCPU(id: 6)
        #expect(try first.registers().rip == 0xFFF0)
    }

    @Test func anIDOverTheLimitNamesTheLimit() throws {
        let vm = try kvm.kvm.createVM()
        let limit = Int(vm.check(.maxVCPUID))
        for id in [limit, -1, Int(UInt32.max), 1 << 32, .max, .min] {
            let error = #expect(throws: KVMError.self) { _ = try vm.createVCPU(id: id) }
            #expect(error?.errno == .invalidArgument)
            #expect(error?.advice?.contains("0 to \(limit - 1) (KVM_CAP_MAX_VCPU_ID is \(limit))") == true)
        }
        _ = try vm.createVCPU(id: limit - 1)
    }

    @Test func theInterruptControllerComesFirst() throws {
        let vm = try kvm.kvm.createVM()
        let vcpu = try vm.createVCPU(id: 0)
        let late = #expect(throws: KVMError.self) { try vm.createInterruptController() }
        #expect(late?.operation == "KVM_CREATE_IRQCHIP")
        #expect(late?.errno == .invalidArgument)
        #expect(late?.advice?.contains("before the first") == true)
        #expect(throws: KVMError.self) { try vcpu.localAPIC() }
        _ = try vm.createVCPU(id: 1)
    }

    @Test func theBootVCPUIsChosenFirst() throws {
        let vm = try kvm.kvm.createVM()
        try vm.createInterruptController()
        try vm.setBootVCPU(id: 2)
        let other = try vm.createVCPU(id: 0)
        let boot = try vm.createVCPU(id: 2)
        #expect(try boot.mpState() == .runnable)
        #expect(try other.mpState() == .uninitialized)
        // IA32_APIC_BASE.BSP. SDM volume 3A, 11.4.4.
        #expect(try boot.specialRegisters().apicBase & 0x100 != 0)
        #expect(try other.specialRegisters().apicBase & 0x100 == 0)
        let error = #expect(throws: KVMError.self) { try vm.setBootVCPU(id: 1) }
        #expect(error?.errno == .resourceBusy)
        #expect(error?.advice?.contains("before the first") == true)
    }

    @Test func aBootVCPUThatCannotBeIsRefused() throws {
        let vm = try kvm.kvm.createVM()
        let limit = Int(vm.check(.maxVCPUID))
        for id in [-1, limit, .max] {
            let error = #expect(throws: KVMError.self) { try vm.setBootVCPU(id: id) }
            #expect(error?.operation == "KVM_SET_BOOT_CPU_ID")
            #expect(error?.errno == .invalidArgument)
            #expect(error?.advice == "id \(id) is out of range (KVM_CAP_MAX_VCPU_ID is \(limit))")
        }
        try vm.setBootVCPU(id: limit - 1)
    }

    @Test func aLocalAPICHasTheVCPUsID() throws {
        let vm = try kvm.kvm.createVM()
        try vm.createInterruptController()
        let vcpu = try vm.createVCPU(id: 7)
        #expect(try vcpu.localAPIC()[0x20] == 7 << 24)
    }

    @Test func oneTooManyNamesTheLimit() throws {
        let vm = try kvm.kvm.createVM()
        let limit = Int(vm.check(.maxVCPUs))
        var limits = rlimit()
        getrlimit(__rlimit_resource_t(7), &limits)
        // A descriptor each; where the process may not have so many, that limit is the one met.
        limits.rlim_cur = min(limits.rlim_max, UInt(limit) + 512)
        setrlimit(__rlimit_resource_t(7), &limits)
        var vcpus: [VCPU] = []
        let error = #expect(throws: KVMError.self) {
            for id in 0...limit { vcpus.append(try vm.createVCPU(id: id)) }
        }
        if error?.errno == .invalidArgument {
            #expect(vcpus.count == limit)
            #expect(error?.advice?.contains("has \(limit) vCPUs") == true)
            #expect(error?.advice?.contains("KVM_CAP_MAX_VCPUS") == true)
        } else {
            #expect(error?.errno == .tooManyOpenFiles)
            #expect(error?.advice?.contains("ulimit") == true)
        }
        #expect(try vcpus[0].registers().rip == 0xFFF0)
    }

    @Test func aVCPUOutlivesTheVirtualMachineAndItsMemory() throws {
        func makeVCPU() throws -> VCPU {
            let vm = try kvm.kvm.createVM()
            let memory = try GuestMemory(size: 0x10000)
            try memory.write(0x1000, [0xB0, 0x41, 0xE6, 0xE9, 0xF4])  // mov al, 'A'; out 0xE9, al; hlt
            try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
            let vcpu = try vm.createVCPU(id: 0)
            try vcpu.enterRealMode(at: 0x1000)
            return vcpu
        }
        let vcpu = try makeVCPU()
        #expect(try vcpu.run().portIO?.data.value == 0x41)
        #expect(try vcpu.run() == .hlt)
    }

    @Test func aVCPUIsSentToItsThread() throws {
        let vm = try kvm.kvm.createVM()
        let vcpu = try vm.createVCPU(id: 0)
        let rip = try OtherThread.run(vcpu) { try $0.registers().rip }
        #expect(rip == 0xFFF0)
    }
}
