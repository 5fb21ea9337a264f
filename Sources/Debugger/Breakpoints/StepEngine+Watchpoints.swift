import DebugTarget
import KVMCore
import Synchronization
import X86

/// Watched memory and protected pages.
extension StepEngine {
    mutating func access(_ access: MMIO) -> AccessAnswer {
        accesses.access(access, armedSet.watches, memory)
    }

    /// The verdict about what was watched, once the instruction is done; nil where nothing stops the guest.
    mutating func watched(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        guard !accesses.isQuiet else { return nil }
        let scene = scene(try vcpu.registers(), try vcpu.specialRegisters(), vcpu)
        let hits = accesses.judge(armedSet.watches) { breakpoints.stops($0, scene) }
        guard !hits.isEmpty else { return nil }
        outcome.hits += hits.map(\.number)
        return .stop(.watchpoint(hits))
    }

    /// KVM could not do an instruction, maybe because of a protected page: it is tried again with all pages open, alone.
    mutating func retryOpen(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        // Suberrors: emulation failed; an exit while an event was delivered.
        guard case .internalError(let error) = exit, error.suberror == 1 || error.suberror == 3,
            patching.protector != nil, patching.hasProtection.load(ordering: .acquiring),
            !exclusive.wantsOpenPages
        else { return nil }
        exclusive.wantsOpenPages = true
        armed = nil
        try stepNext(try vcpu.registers(), try vcpu.specialRegisters(), vcpu)
        return .resume
    }
}
