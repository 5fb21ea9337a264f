public import DebugTarget
import Host

/// Breakpoints as patches in the guest's memory, and one vCPU that goes on alone while its step has them lifted.
///
/// All controllers are called on the one thread that waits for the stop, so nobody can wait for another here: what
/// comes to vCPUs that are held is put off until the one that goes on alone is done.
extension AttachedTarget: PatchKeeping {
    /// An OUT is looked at before the VMM has it, if the registers that come with the exit say where it stands.
    public var passesPortWrites: Bool { members.allSatisfy(\.hasRegisters) }

    public func holdVCPUs(except vcpu: Int?) {
        do throws(HostGuestError) {
            guard let vcpu else { return try hold() }
            if members.contains(where: { !$0.isStanding && !$0.isGone }) {
                try hold()
                deferred += client.takeEvents()
                phase = .running
            }
            holder = vcpu
        } catch {
            holdFailure = error
        }
    }

    public func releaseVCPUs(except vcpu: Int?) {
        // The others go when the one that was alone has been told what to do next.
        guard vcpu == nil else {
            holder = nil
            return
        }
        if hasOrders { resumeHeldMeasured() }
    }

    /// Some byte that the tracer keeps account of is no patch.
    var patchesAreOverwritten: Bool {
        patched.contains { gpa, patch in attachedMemory.word(gpa, size: 1) != UInt64(patch) }
    }

    public func knowsMemory() -> Bool {
        if attachedMemory.source.isAssumed {
            try? searchMemory(ProcessFiles(guest.process).text("maps").map(AddressMap.init))
        }
        return !attachedMemory.source.isAssumed
    }

    public func willPatch(_ gpa: UInt64, with patch: UInt8, hiding hidden: [UInt8]) throws {
        guard !attachedMemory.source.isAssumed else { throw MemoryFault(gpa: gpa) }
        // A guest that nobody traces would give the patch's exit to its VMM.
        if phase == .passive { try hold() }
        try client.tell(.patch(gpa: gpa, patch: patch, hidden: hidden))
        for offset in 0..<UInt64(hidden.count) { patched[gpa &+ offset] = patch }
    }

    public func didRestore(_ gpa: UInt64, count: Int) {
        for place in gpa..<gpa &+ UInt64(count) { patched[place] = nil }
        // Without the tracer there is nobody left who would put it back again.
        try? client.tell(.unpatch(gpa: gpa, count: UInt16(clamping: count)))
    }
}
