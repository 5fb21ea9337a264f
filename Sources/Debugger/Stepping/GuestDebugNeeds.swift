import KVMCore

/// What the moment needs of guest debug.
struct GuestDebugNeeds: Sendable {
    var isStepping = false
    /// Interrupts wait for the step to be over.
    var holdsOffInterrupts = false
    /// What the debug registers are to hold.
    var places = ArmedBreakpoints()
    /// The instruction to be stepped: a breakpoint on it would fire before it.
    var steppedPlace: UInt64?
    /// Handlers that must be stopped at, and that the debug registers do not hold.
    var unarmed: [UInt64] = []
    /// INT3 in the code is a patch.
    var trapsINT3 = false

    /// A handler is to be stopped at, before its first instruction.
    ///
    /// - Parameter fires: execution breakpoints in debug registers work on this host.
    mutating func add(handler: UInt64, fires: Bool) {
        if fires, places.insert(handler) { return }
        if !unarmed.contains(handler) { unarmed.append(handler) }
    }

    /// The guest debug that gives it.
    var guestDebug: GuestDebug {
        var wanted = GuestDebug.off
        if isStepping {
            wanted.control = [.enable, .singleStep]
            if holdsOffInterrupts { wanted.control.insert(.blockInterrupts) }
        }
        if places.count > 0 {
            wanted.control.formUnion([.enable, .hardwareBreakpoints])
            wanted.addresses = places.addresses
            wanted.dr7 = places.dr7(except: isStepping ? steppedPlace : nil)
        }
        if trapsINT3 { wanted.control.formUnion([.enable, .softwareBreakpoints]) }
        return wanted
    }
}
