import KVMCore
import X86

/// What a vCPU's driver does about breakpoints: arms them, and decides at them.
extension VCPUDriver {
    /// The breakpoints changed while it runs.
    func rearm(_ breakpoints: ArmedBreakpoints, _ vcpu: any VCPUAccess) throws(KVMError) {
        self.breakpoints = breakpoints
        try arm(vcpu)
    }

    /// A debug register matched while it ran freely.
    func decide(
        atBreakpoint registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict {
        let pc = VCPUSnapshot.pc(registers, special)
        if breakpoints.contains(pc) { return hit() }
        if let destination, hasArrived(destination, pc, registers, special) {
            return .stop(destination.reason)
        }
        // A deeper call of the same code, or a breakpoint that was deleted meanwhile: past it by one step.
        prepare(registers, special, pc: pc)
        isStepping = true
        try arm(vcpu)
        return .resume
    }

    func hit() -> Verdict {
        isAtHit = true
        return .stop(.breakpoint([]))
    }

    /// Whether it came to a breakpoint since this was last asked.
    func takeHit() -> Bool {
        defer { isAtHit = false }
        return isAtHit
    }

    /// Makes guest debug what the moment needs, if it is not so already.
    func arm(_ vcpu: any VCPUAccess) throws(KVMError) {
        var wanted = GuestDebug.off
        var places = breakpoints
        if let destination, !destination.bySteps { places.insert(destination.linear) }
        if isStepping {
            wanted.control = [.enable, .singleStep]
            if abilities.contains(.blockInterrupts) { wanted.control.insert(.blockInterrupts) }
            if let handler { places.insert(handler) }
        }
        if places.count > 0 {
            wanted.control.formUnion([.enable, .hardwareBreakpoints])
            wanted.addresses = places.addresses
            wanted.dr7 = places.dr7(except: isStepping ? beforePC : nil)
        }
        guard armed != wanted else { return }
        armed = nil
        try vcpu.setGuestDebug(wanted)
        armed = wanted
    }
}
