import DebugTarget
import Host
import KVMCore
import SystemPackage
import X86

/// A vCPU of a guest that runs and is not traced: registers come from the shared page with no stop; any other call
/// stops the guest first, until the target resumes it.
final class PassiveVCPU: VCPUAccess {
    private let member: AttachedVCPU
    private let target: AttachedTarget
    private(set) var hasStopped = false
    /// Registers were given out that the guest has run on since.
    private var gaveOld = (general: false, special: false)

    init(_ member: AttachedVCPU, _ target: AttachedTarget) {
        self.member = member
        self.target = target
    }

    private func stopped() throws(KVMError) -> HeldVCPU {
        if target.phase != .held {
            do throws(HostGuestError) {
                try target.hold()
            } catch {
                throw KVMError(
                    "stopping vCPU \(member.identity.id)", .resourceTemporarilyUnavailable,
                    advice: error.description)
            }
            hasStopped = true
        }
        return member.held
    }

    private func seen() -> (GeneralRegisters, SpecialRegisters)? {
        if target.phase == .held { return nil }
        return member.registersAtLastExit() ?? member.rememberedRegisters()
    }

    /// For a whole register file to be written: one that was made from old values would set the guest back.
    private func writable(_ isOld: Bool) throws(KVMError) -> HeldVCPU {
        guard !isOld else {
            throw KVMError(
                "setting registers of vCPU \(member.identity.id)", .resourceTemporarilyUnavailable,
                advice: "they were read while the guest ran; read them again while it is stopped")
        }
        return try stopped()
    }

    func holdStill() throws(KVMError) { _ = try stopped() }

    func registers() throws(KVMError) -> GeneralRegisters {
        let seen = seen()
        gaveOld.general = seen != nil
        if let seen { return seen.0 }
        return try asked().general
    }
    func specialRegisters() throws(KVMError) -> SpecialRegisters {
        let seen = seen()
        gaveOld.special = seen != nil
        if let seen { return seen.1 }
        return try asked().special
    }
    /// Both, of one moment.
    private func asked() throws(KVMError) -> (general: GeneralRegisters, special: SpecialRegisters) {
        let vcpu = try stopped()
        let both = (general: try vcpu.registers(), special: try vcpu.specialRegisters())
        member.remember(both.general, both.special)
        return both
    }
    func setRegisters(_ registers: GeneralRegisters) throws(KVMError) {
        member.forgetRegisters()
        try writable(gaveOld.general).setRegisters(registers)
    }
    func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {
        member.forgetRegisters()
        try writable(gaveOld.special).setSpecialRegisters(registers)
    }
    func debugRegisters() throws(KVMError) -> DebugRegisters { try stopped().debugRegisters() }
    func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) {
        try stopped().setDebugRegisters(registers)
    }
    func fpu() throws(KVMError) -> FPURegisters { try stopped().fpu() }
    func setFPU(_ registers: FPURegisters) throws(KVMError) { try stopped().setFPU(registers) }
    func msr(_ index: UInt32) throws(KVMError) -> UInt64 { try stopped().msr(index) }
    func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) { try stopped().setMSR(index, value) }
    func localAPIC() throws(KVMError) -> LocalAPICState { try stopped().localAPIC() }
    func mpState() throws(KVMError) -> MPState {
        if target.phase != .held, let state = member.mpStateWithoutStop() { return state }
        return try stopped().mpState()
    }
    func setMPState(_ state: MPState) throws(KVMError) { try stopped().setMPState(state) }
    func events() throws(KVMError) -> VCPUEvents { try stopped().events() }
    func setEvents(_ events: VCPUEvents) throws(KVMError) { try stopped().setEvents(events) }
    func translate(_ linear: UInt64) throws(KVMError) -> Translation { try stopped().translate(linear) }
    func setGuestDebug(_ debug: GuestDebug) throws(KVMError) { try stopped().setGuestDebug(debug) }
}
