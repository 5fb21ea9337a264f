import Locking

/// What this process knows of a VM, shared by the ``VirtualMachine`` and its vCPUs.
///
/// It keeps the guest's memory mapped as long as any of them can run the guest: a memslot whose memory was
/// unmapped would give the guest whatever is mapped there next.
final class VMState: Sendable {
    struct Contents {
        var slots: [UInt32: MemorySlot]
        var memories: [UInt32: GuestMemory] = [:]
        /// Made here; KVM counts a vCPU until its VM is gone, even when its descriptor is closed.
        var vcpusCreated = 0
        /// Whether vCPUs may have a local APIC in the kernel; assumed where someone else set the VM up.
        var mayHaveLocalAPIC: Bool
        /// Whether there may be PICs and an IOAPIC in the kernel; assumed where someone else set the VM up.
        var mayHaveControllers: Bool
        /// Of each vCPU's dirty ring, in bytes; 0 without.
        var dirtyRingSize = 0
    }

    let contents: Lock<Contents>

    init(slots: [MemorySlot] = [], mayHaveLocalAPIC: Bool = false) {
        let table = Dictionary(slots.map { ($0.slot, $0) }, uniquingKeysWith: { _, last in last })
        contents = Lock(
            Contents(slots: table, mayHaveLocalAPIC: mayHaveLocalAPIC, mayHaveControllers: mayHaveLocalAPIC))
    }
}
