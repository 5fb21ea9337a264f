public import DebugTarget
public import KVMCore

extension OwnedMachine: InterruptControllerEditing {
    public var hasInterruptControllers: Bool { configuration.interruptController == .kernel }
    public func picState(_ chip: PIC) throws(KVMError) -> PICState { try vm.vm.picState(chip) }
    public func ioapicState() throws(KVMError) -> IOAPICState { try vm.vm.ioapicState() }
    public func pitState() throws(KVMError) -> PITState { try vm.vm.pitState() }
    public func setPICState(_ chip: PIC, _ state: PICState) throws(KVMError) {
        try vm.vm.setPICState(chip, state)
    }
    public func setIOAPICState(_ state: IOAPICState) throws(KVMError) { try vm.vm.setIOAPICState(state) }
    public func setPITState(_ state: PITState) throws(KVMError) { try vm.vm.setPITState(state) }
}

extension OwnedMachine: MSRListing {
    public var msrIndexes: [UInt32] { supportedMSRs }
}
