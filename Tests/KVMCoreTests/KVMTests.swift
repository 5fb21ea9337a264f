import SystemPackage
import Testing

@testable import KVMCore

/// Opening KVM where it cannot be: decided without the device.
@Suite struct KVMOpenTests {
    @Test(arguments: [Errno.noSuchFileOrDirectory, .operationNotSupportedByDevice, .noSuchAddressOrDevice])
    func anAbsentDeviceIsExplained(_ errno: Errno) {
        #expect(KVM.openAdvice(errno, hasExtensions: true)?.contains("modprobe kvm_intel") == true)
        #expect(KVM.openAdvice(errno, hasExtensions: false)?.contains("nested virtualization") == true)
        let unknown = KVM.openAdvice(errno, hasExtensions: nil)
        #expect(unknown?.contains("modprobe") == true && unknown?.contains("nested") == true)
    }

    @Test func aClosedDeviceNamesTheGroup() {
        let advice = KVM.openAdvice(.permissionDenied, hasExtensions: true)
        #expect(advice?.contains("usermod -aG kvm $USER") == true)
    }

    @Test(
        arguments: [
            ("processor\t: 0\nflags\t\t: fpu vme vmx sse\n", true),
            ("flags\t\t: fpu svm\nflags\t\t: fpu\n", true),
            ("processor\t: 0\nflags\t\t: fpu vmxnot svm_lock\n", false),
            ("processor\t: 0\nvmx flags\t: vnmi\n", nil), ("", nil),
        ] as [(String, Bool?)])
    func processorFlags(_ cpuinfo: String, _ expected: Bool?) {
        #expect(KVM.flagsShowVirtualization(cpuinfo) == expected)
    }

    @Test func aPathThatIsNotThere() {
        let error = #expect(throws: KVMError.self) { _ = try KVM.open(path: "/nonexistent/kvm") }
        #expect(error?.operation == "open /nonexistent/kvm")
        #expect(error?.errno == .noSuchFileOrDirectory)
        #expect(error?.advice != nil)
    }

    @Test func aFileThatIsNotKVM() {
        let error = #expect(throws: KVMError.self) { _ = try KVM.open(path: "/dev/null") }
        #expect(error?.operation == "KVM_GET_API_VERSION")
        #expect(error?.errno == .inappropriateIOCTLForDevice)
    }

    @Test func capabilitiesAreNamed() {
        #expect(Capability.syncRegs.description == "SYNC_REGS")
        #expect(Capability(rawValue: 100_000).description == "100000")
        // A number that two names share would be a slip.
        #expect(Set(Capability.named.values).count == Capability.named.count)
    }
}

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct KVMTests {
    @Test func theDeviceSpeaksVersion12() throws {
        let kvm = try KVM.open()
        #expect(try kvm.apiVersion() == 12)
        #expect(KVM.isAvailable)
        #expect(try kvm.runMappingSize() >= 4096)
    }

    @Test func capabilitiesAreNumbers() throws {
        let kvm = try KVM.open()
        #expect(kvm.check(.userMemory) == 1)
        #expect(kvm.check(.immediateExit) == 1)
        #expect(kvm.check(.maxVCPUs) >= kvm.check(.nrVCPUs))
        #expect(kvm.check(.maxVCPUID) >= kvm.check(.maxVCPUs))
        #expect(kvm.check(Capability(rawValue: 100_000)) == 0)
        #expect(kvm.check(Capability(rawValue: -1)) == 0)
        let vm = try kvm.createVM()
        #expect(vm.check(.nrMemslots) > 0)
    }

    @Test func supportedCPUIDHasTheVendorAndLongMode() throws {
        let entries = try KVM.open().supportedCPUID()
        let vendor = try #require(entries.first { $0.function == 0 })
        #expect(vendor.ebx != 0)
        let extended = try #require(entries.first { $0.function == 0x8000_0001 })
        #expect(extended.edx >> 29 & 1 == 1, "CPUID 80000001 EDX.LM")
    }

    @Test func theMSRListHasTheTSC() throws {
        let indices = try KVM.open().msrIndexList()
        #expect(indices.contains(0x10))
        #expect(Set(indices).count == indices.count)
    }

    @Test func aMachineTypeThatIsNotKnownIsRefused() throws {
        let kvm = try KVM.open()
        let error = #expect(throws: KVMError.self) { _ = try kvm.createVM(type: 0xFFFF) }
        #expect(error?.operation == "KVM_CREATE_VM")
        #expect(error?.errno == .invalidArgument)
        #expect(error?.advice?.contains("machine type 65535") == true)
    }
}
