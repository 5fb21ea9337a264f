public import Debugger
public import KVMCore

extension OwnedMachine: InterruptControllerProviding {
    public var hasInterruptControllers: Bool { configuration.interruptController == .kernel }
    public func picState(_ chip: PIC) throws(KVMError) -> PICState { try vm.vm.picState(chip) }
    public func ioapicState() throws(KVMError) -> IOAPICState { try vm.vm.ioapicState() }
    public func pitState() throws(KVMError) -> PITState { try vm.vm.pitState() }
}
