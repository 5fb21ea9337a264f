import CKVM
import SystemPackage
public import X86

extension VCPU {
    /// The general registers, RIP and RFLAGS: from the page after a run, else by a call.
    ///
    /// Corresponds to `KVM_GET_REGS`.
    public func registers() throws(KVMError) -> GeneralRegisters {
        if isCurrent(Self.syncRegisters) {
            return GeneralRegisters(page.bytes.field(RunLayout.registers))
        }
        var argument = kvm_regs()
        try handle.call(.getRegs, &argument)
        return GeneralRegisters(argument)
    }

    /// Sets the general registers, RIP and RFLAGS; a pending exception is dropped by the kernel.
    ///
    /// - Throws: EBUSY while I/O is pending.
    ///
    /// Corresponds to `KVM_SET_REGS`.
    public func setRegisters(_ registers: GeneralRegisters) throws(KVMError) {
        try requireCompleted(.setRegs)
        var argument = registers.encoded
        try handle.call(.setRegs, &argument)
        dropWaiting(Self.syncRegisters)
        forgetRegisters()
    }

    /// Segments, tables and control registers: from the page after a run, else by a call.
    ///
    /// Corresponds to `KVM_GET_SREGS`.
    public func specialRegisters() throws(KVMError) -> SpecialRegisters {
        if isCurrent(Self.syncSpecialRegisters) {
            return SpecialRegisters(page.bytes.field(RunLayout.specialRegisters))
        }
        var argument = kvm_sregs()
        try handle.call(.getSRegs, &argument)
        return SpecialRegisters(argument)
    }

    /// Sets segments, tables and control registers, all or none.
    ///
    /// Some hosts take a value and keep another: KVM's PVM drops CR0.PG outside of IA-32e mode. Read back what
    /// matters.
    ///
    /// - Throws: EINVAL for control registers that contradict each other or have reserved bits: nothing has
    ///   changed. EBUSY while I/O is pending.
    ///
    /// Corresponds to `KVM_SET_SREGS`.
    public func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {
        try requireCompleted(.setSRegs)
        var argument = registers.encoded
        try handle.call(.setSRegs, &argument) { errno in
            errno == .invalidArgument
                ? "CR0, CR4, EFER, the APIC base or CS contradict each other or have reserved bits; "
                    + "nothing was changed"
                : nil
        }
        // Without a local APIC in the kernel, KVM_RUN takes CR8 from here.
        page.bytes.setField(RunLayout.cr8, registers.cr8)
        forgetRegisters()
    }

    /// Exceptions, interrupts and NMIs on their way: from the page after a run, else by a call.
    ///
    /// Corresponds to `KVM_GET_VCPU_EVENTS`; needs KVM_CAP_VCPU_EVENTS.
    public func events() throws(KVMError) -> VCPUEvents {
        if isCurrent(Self.syncEvents) { return VCPUEvents(page.bytes.field(RunLayout.events)) }
        var argument = kvm_vcpu_events()
        try handle.call(.getVCPUEvents, &argument)
        return VCPUEvents(argument)
    }

    /// Sets exceptions, interrupts and NMIs on their way. Which fields count is told by
    /// ``VCPUEvents/flags``; keep those that ``events()`` gave.
    ///
    /// - Throws: EINVAL for flags or combinations that the kernel does not take. EBUSY while I/O is pending.
    ///
    /// Corresponds to `KVM_SET_VCPU_EVENTS`; needs KVM_CAP_VCPU_EVENTS.
    public func setEvents(_ events: VCPUEvents) throws(KVMError) {
        try requireCompleted(.setVCPUEvents)
        var argument = events.encoded
        try handle.call(.setVCPUEvents, &argument) { errno in
            errno == .invalidArgument
                ? "the flags, or an exception that is injected and pending at once, are not taken" : nil
        }
        dropWaiting(Self.syncEvents)
        forgetRegisters()
    }

    /// DR0 to DR3, DR6 and DR7 as the guest sees them; breakpoints set by ``setGuestDebug(_:)`` are not in them.
    ///
    /// Corresponds to `KVM_GET_DEBUGREGS`; needs KVM_CAP_DEBUGREGS.
    public func debugRegisters() throws(KVMError) -> DebugRegisters {
        var argument = kvm_debugregs()
        try handle.call(.getDebugRegs, &argument)
        return DebugRegisters(argument)
    }

    /// - Throws: EINVAL if DR6 or DR7 has bits above 31.
    ///
    /// Corresponds to `KVM_SET_DEBUGREGS`; needs KVM_CAP_DEBUGREGS.
    public func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) {
        var argument = registers.encoded
        try handle.call(.setDebugRegs, &argument) { errno in
            errno == .invalidArgument ? "bits 32 to 63 of DR6 and DR7 must be 0" : nil
        }
    }

    /// Corresponds to `KVM_GET_MP_STATE`; needs KVM_CAP_MP_STATE.
    public func mpState() throws(KVMError) -> MPState {
        var argument = kvm_mp_state()
        // With a local APIC in the kernel the call takes in an INIT or SIPI that has come, which sets registers.
        if mayHaveLocalAPIC { forgetRegisters() }
        try handle.call(.getMPState, &argument)
        return MPState(rawValue: argument.mp_state)
    }

    /// Sets what the vCPU waits for.
    ///
    /// - Throws: EINVAL for another state than ``MPState/runnable`` without a local APIC in the kernel, and for a
    ///   number that x86 has not, which some older kernels take.
    ///
    /// Corresponds to `KVM_SET_MP_STATE`; needs KVM_CAP_MP_STATE.
    public func setMPState(_ state: MPState) throws(KVMError) {
        if case .other(let number) = state, number != Self.apResetHold, case .direct = handle.channel {
            throw KVMError(
                Request.setMPState.name, .invalidArgument, advice: "x86 has no state \(number)")
        }
        var argument = kvm_mp_state(mp_state: state.rawValue)
        try handle.call(.setMPState, &argument) { errno in
            errno == .invalidArgument && !mayHaveLocalAPIC
                ? "without interrupt controllers in the kernel a vCPU is always runnable" : nil
        }
        forgetRegisters()
    }

    /// KVM_MP_STATE_AP_RESET_HOLD: an encrypted guest's application processor that waits to be reset.
    private static let apResetHold: UInt32 = 9

    /// Arms or disarms single-step and breakpoints of ours; all of it is replaced.
    ///
    /// - Throws: EINVAL for bits that KVM_CAP_SET_GUEST_DEBUG2 does not list, which the kernel itself takes and
    ///   does not heed (kvm_arch_vcpu_ioctl_set_guest_debug in arch/x86/kvm/x86.c); EBUSY to inject while an
    ///   exception is pending.
    ///
    /// Corresponds to `KVM_SET_GUEST_DEBUG`; needs KVM_CAP_SET_GUEST_DEBUG.
    public func setGuestDebug(_ debug: GuestDebug) throws(KVMError) {
        if let guestDebugControls, !guestDebugControls.isSuperset(of: debug.control) {
            let missing = debug.control.subtracting(guestDebugControls).rawValue
            throw KVMError(
                Request.setGuestDebug.name, .invalidArgument,
                advice: "this KVM does not have debug control 0x\(String(missing, radix: 16)) "
                    + "(KVM_CAP_SET_GUEST_DEBUG2)")
        }
        var argument = kvm_guest_debug()
        argument.control = debug.control.rawValue
        argument.arch.debugreg.0 = debug.addresses[0]
        argument.arch.debugreg.1 = debug.addresses[1]
        argument.arch.debugreg.2 = debug.addresses[2]
        argument.arch.debugreg.3 = debug.addresses[3]
        argument.arch.debugreg.7 = debug.dr7
        try handle.call(.setGuestDebug, &argument) { errno in
            switch errno {
            case .resourceBusy: "an exception is pending already"
            default: nil
            }
        }
        // Nothing that the page shows changes, unless an exception is injected.
        if !debug.control.isDisjoint(with: [.injectDB, .injectBP]) { forgetRegisters() }
    }

    /// What the vCPU's page tables say of a linear address; no bits are set in them.
    ///
    /// Corresponds to `KVM_TRANSLATE`.
    public func translate(_ linear: UInt64) throws(KVMError) -> Translation {
        var argument = kvm_translation()
        argument.linear_address = linear
        try handle.call(.translate, &argument)
        return Translation(
            gpa: argument.physical_address, isValid: argument.valid != 0,
            isWriteable: argument.writeable != 0, isUser: argument.usermode != 0)
    }
}
