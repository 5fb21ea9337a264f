import SystemPackage
public import X86

/// One vCPU.
public final class VCPU {
    public func registers() throws(KVMError) -> GeneralRegisters { GeneralRegisters() }
    public func setRegisters(_ registers: GeneralRegisters) throws(KVMError) {}
    public func specialRegisters() throws(KVMError) -> SpecialRegisters { SpecialRegisters() }
    public func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {}
    public func debugRegisters() throws(KVMError) -> DebugRegisters { DebugRegisters() }
    public func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) {}
    public func fpu() throws(KVMError) -> FPURegisters { FPURegisters() }
    public func setFPU(_ registers: FPURegisters) throws(KVMError) {}
    public func msr(_ index: UInt32) throws(KVMError) -> UInt64 { 0 }
    public func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) {}
    public func localAPIC() throws(KVMError) -> LocalAPICState {
        throw KVMError("KVM_GET_LAPIC", .invalidArgument)
    }
    public func mpState() throws(KVMError) -> MPState { .runnable }
    public func setMPState(_ state: MPState) throws(KVMError) {}
    public func events() throws(KVMError) -> VCPUEvents { VCPUEvents() }
    public func setEvents(_ events: VCPUEvents) throws(KVMError) {}
    public func translate(_ linear: UInt64) throws(KVMError) -> Translation {
        throw KVMError("KVM_TRANSLATE", .invalidArgument)
    }
    public func setGuestDebug(_ debug: GuestDebug) throws(KVMError) {}
}
