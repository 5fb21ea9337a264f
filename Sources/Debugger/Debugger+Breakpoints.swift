extension Debugger {
    /// By number.
    public var breakpoints: [Breakpoint] { table.list }

    /// Sets a breakpoint, also while the guest runs. The address is made linear now, by the selected vCPU's
    /// segments, and stays so.
    ///
    /// - Throws: `.limit` where all four debug registers are in use, `.badAddress` for a physical address.
    @discardableResult
    public func setBreakpoint(at address: Address, isTemporary: Bool = false) throws(DebuggerError)
        -> Breakpoint
    {
        let linear = try linear(address)
        let before = table
        let breakpoint = try table.add(address, linear: linear, isTemporary: isTemporary)
        try applyBreakpoints(orElse: before)
        return breakpoint
    }

    public func deleteBreakpoint(_ number: Int) throws(DebuggerError) {
        let before = table
        try table.remove(number)
        try applyBreakpoints(orElse: before)
    }

    public func deleteAllBreakpoints() throws(DebuggerError) {
        let before = table
        table.removeAll()
        try applyBreakpoints(orElse: before)
    }

    /// Enables or disables a breakpoint. A disabled one takes no debug register.
    public func setBreakpoint(_ number: Int, enabled: Bool) throws(DebuggerError) {
        let before = table
        try table.setEnabled(number, enabled)
        try applyBreakpoints(orElse: before)
    }

    /// Gives the table to the drivers: at once where they run, otherwise with their next order.
    private func applyBreakpoints(orElse before: BreakpointTable) throws(DebuggerError) {
        let armed = table.armed
        guard isRunning else {
            for driver in drivers { driver.breakpoints = armed }
            return
        }
        do {
            for driver in drivers {
                try target.withVCPU(driver.id) { vcpu in try driver.rearm(armed, vcpu) }
            }
        } catch {
            table = before
            throw DebuggerError("setting guest debug", error)
        }
    }
}
