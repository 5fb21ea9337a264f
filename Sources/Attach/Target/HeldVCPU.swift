import DebugTarget
import KVMCore
import X86

/// A vCPU that is stopped. Its calls are made in the VMM, but what it waits for is read in the kernel where that is
/// possible: KVM_GET_MP_STATE may take in an INIT, so that the registers that came with the last exit would have to
/// be asked for again.
final class HeldVCPU: VCPUAccess {
    // The member owns this object, and both end together.
    private unowned let member: AttachedVCPU
    private let vcpu: VCPU

    init(_ member: AttachedVCPU) {
        self.member = member
        vcpu = member.vcpu
    }

    func mpState() throws(KVMError) -> MPState {
        if let state = member.kernelMPState() { return state }
        return try vcpu.mpState()
    }
    func registers() throws(KVMError) -> GeneralRegisters { try vcpu.registers() }
    func setRegisters(_ registers: GeneralRegisters) throws(KVMError) {
        member.forgetRegisters()
        try vcpu.setRegisters(registers)
    }
    func specialRegisters() throws(KVMError) -> SpecialRegisters { try vcpu.specialRegisters() }
    func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {
        member.forgetRegisters()
        try vcpu.setSpecialRegisters(registers)
    }
    func debugRegisters() throws(KVMError) -> DebugRegisters { try vcpu.debugRegisters() }
    func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) {
        try vcpu.setDebugRegisters(registers)
    }
    func fpu() throws(KVMError) -> FPURegisters { try vcpu.fpu() }
    func setFPU(_ registers: FPURegisters) throws(KVMError) { try vcpu.setFPU(registers) }
    func msr(_ index: UInt32) throws(KVMError) -> UInt64 { try vcpu.msr(index) }
    func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) { try vcpu.setMSR(index, value) }
    func localAPIC() throws(KVMError) -> LocalAPICState { try vcpu.localAPIC() }
    func setMPState(_ state: MPState) throws(KVMError) { try vcpu.setMPState(state) }
    func events() throws(KVMError) -> VCPUEvents { try vcpu.events() }
    func setEvents(_ events: VCPUEvents) throws(KVMError) { try vcpu.setEvents(events) }
    func translate(_ linear: UInt64) throws(KVMError) -> Translation { try vcpu.translate(linear) }
    func setGuestDebug(_ debug: GuestDebug) throws(KVMError) { try vcpu.setGuestDebug(debug) }
}
