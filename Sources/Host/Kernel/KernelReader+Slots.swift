extension KernelReader {
    /// Which memory slots a VM has: another one after each change of them.
    package struct SlotsVersion: Sendable, Hashable {
        /// KVM changes one of two sets and then exchanges them.
        package var set: UInt64
        var generation: UInt64
    }

    package func slotsVersion(_ vcpu: VCPUObject) -> SlotsVersion? {
        guard let machine = read(vcpu.address &+ layout.vcpuVM),
            let set = read(machine &+ layout.kvmSlots),
            let generation = read(set &+ layout.slotsGeneration)
        else { return nil }
        return SlotsVersion(set: set, generation: generation)
    }
}

extension KernelReader {
    /// How many vCPUs the VM has by now; nil where this kernel keeps that elsewhere.
    package func vcpuCount(_ vcpu: VCPUObject) -> Int? {
        guard let offset = layout.kvmVCPUs, let machine = read(vcpu.address &+ layout.vcpuVM) else {
            return nil
        }
        // atomic_t: four bytes.
        return read(machine &+ offset).map { Int(UInt32(truncatingIfNeeded: $0)) }
    }

    /// Whether it has ever been in KVM_RUN.
    package func hasRun(_ vcpu: VCPUObject) -> Bool? { read(vcpu.address &+ layout.vcpuPID).map { $0 != 0 } }
}
