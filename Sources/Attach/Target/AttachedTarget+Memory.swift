import Debugger
import KVMCore
import X86

/// The memory map: the VMM may change it at any time.
extension AttachedTarget {
    /// The VMM may have changed its slots since.
    func refreshMemory() {
        guard !client.isLost else { return }
        switch attachedMemory.source {
        case .kernel: break
        case .calls where hasGone: break
        case .calls, .search, .none: return
        }
        if attachedMemory.source == .kernel, let kernel = try? KernelReader.shared(),
            let vcpu = members[0].kernelVCPU()
        {
            let version = kernel.slotsVersion(vcpu)
            if version != nil, version == slotsVersion { return attachedMemory.confirm() }
            slotsVersion = version
        }
        if launched?.readsKernel != false, let map = GuestMemoryMap.fromKernel(guest) {
            replaceMap(map)
        } else if launched != nil, case .progress(.ready(let machine))? = try? client.ask(.progress) {
            replaceMap(GuestMemoryMap(regions: machine.regions, source: .calls(isChecked: false)))
        }
    }

    func replaceMap(_ map: GuestMemoryMap) {
        guard map.regions != attachedMemory.regions || map.source != attachedMemory.source else {
            attachedMemory.confirm()
            return
        }
        attachedMemory.replace(map)
        // Where the tracer is lost, the next question says so.
        try? client.tell(.memory(map.regions))
    }

    /// The way without BPF: needs a vCPU that is stopped for a moment.
    func searchMemory(_ addresses: AddressMap?) throws {
        guard let addresses else { return }
        let candidates = GuestMemoryMap.candidates(addresses)
        try hold()
        defer { resumeHeld() }
        let vcpu = members[0].vcpu
        let special = try vcpu.specialRegisters()
        let general = try vcpu.registers()
        let pc = VCPUSnapshot(
            id: members[0].identity.id, registers: general, special: special, activity: .stopped
        ).pc
        let translation = try vcpu.translate(pc)
        let map = GuestMemoryMap.search(
            candidates, special: special, linear: pc, truth: translation.isValid ? translation.gpa : nil
        ) { hva, count in
            AttachedVCPU.word(guest.process, hva, count)
        }
        replaceMap(map)
    }
}
