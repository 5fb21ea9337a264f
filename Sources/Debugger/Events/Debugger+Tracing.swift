/// Stepping all that the guest does, so that the black box has it.
extension Debugger {
    /// Whether every instruction is stepped, and kept with its registers in the black box (``blackBox(vcpu:limit:)``);
    /// the guest can ask for it, too, by port 0x8A00. It runs slowly meanwhile.
    public var isTracing: Bool { placement.table.isTraced }

    public func setTracing(_ isOn: Bool) throws(DebuggerError) {
        guard placement.table.isTraced != isOn else { return }
        try changing { () throws(DebuggerError) in placement.table.isTraced = isOn }
    }
}
