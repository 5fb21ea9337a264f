public import KVMCore
import X86

/// A guest of the test's own process: vCPUs in real mode at 0:1000h, run by whoever calls ``KVMCore/VCPU/run()``.
public struct CodeGuest {
    /// They keep their VM.
    public let vcpus: [VCPU]

    public init(_ code: [UInt8], vcpus count: Int = 1) throws {
        let vm = try KVM.open().createVM()
        let memory = try GuestMemory(size: 0x10000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        try memory.write(0x1000, code)
        var vcpus: [VCPU] = []
        for id in 0..<count { vcpus.append(try vm.createVCPU(id: id)) }
        self.vcpus = vcpus
        for vcpu in vcpus {
            var special = try vcpu.specialRegisters()
            special.cs = .real(0, code: true)
            try vcpu.setSpecialRegisters(special)
            var general = GeneralRegisters()
            general.rip = 0x1000
            try vcpu.setRegisters(general)
            try vcpu.setMPState(.runnable)
        }
    }
}
