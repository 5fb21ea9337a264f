import DebugTarget
import Host
import KVMCore
import X86

/// The memory map where the kernel does not tell it.
extension AttachedTarget {
    /// The way without BPF: needs a vCPU that is stopped for a moment.
    func searchMemory(_ addresses: AddressMap?) throws {
        guard let addresses else { return }
        let candidates = GuestMemoryMap.candidates(addresses)
        let wasHeld = phase == .held
        try hold()
        defer { if !wasHeld { resumeHeldMeasured() } }
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
        mapUpdater.replace(map)
    }
}
