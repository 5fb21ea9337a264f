import CKVM
import Locking
import Synchronization
import SystemPackage

extension VirtualMachine {
    /// Gives VMX a page for the task state segment that real mode needs there: three pages that no memory may
    /// have, below 4 GiB. Without it real mode does not run on some Intel processors.
    ///
    /// Corresponds to `KVM_SET_TSS_ADDR`; needs KVM_CAP_SET_TSS_ADDR.
    public func setTSSAddress(_ gpa: UInt64) throws(KVMError) {
        guard let value = UInt(exactly: gpa) else {
            throw KVMError(Request.setTSSAddr.name, .invalidArgument)
        }
        try handle.call(.setTSSAddr, value: value) { errno in
            errno == .invalidArgument ? "the three pages must end below 4 GiB" : nil
        }
    }

    /// Gives VMX a page for the identity map that real mode needs there; 0xFFFBC000 unless set. Only before
    /// the first vCPU is made.
    ///
    /// Corresponds to `KVM_SET_IDENTITY_MAP_ADDR`; needs KVM_CAP_SET_IDENTITY_MAP_ADDR.
    public func setIdentityMapAddress(_ gpa: UInt64) throws(KVMError) {
        var argument = gpa
        try handle.call(.setIdentityMapAddr, &argument) { errno in
            errno == .invalidArgument ? "the VM has vCPUs already; it is set before the first is made" : nil
        }
    }

    /// Puts two PICs, an IOAPIC, and a local APIC for each vCPU to come, into the kernel. Only before the
    /// first vCPU is made. HLT then no longer exits: the vCPU sleeps in the kernel.
    ///
    /// - Throws: EEXIST if the VM has them; EINVAL if it has vCPUs.
    ///
    /// Corresponds to `KVM_CREATE_IRQCHIP`; needs KVM_CAP_IRQCHIP.
    public func createInterruptController() throws(KVMError) {
        try handle.call(.createIRQChip) { errno in
            switch errno {
            case .fileExists: "the VM has its interrupt controllers already"
            case .invalidArgument:
                "the VM has vCPUs already; interrupt controllers are made before the first, so make a new VM"
            default: nil
            }
        }
        state.contents.withLock {
            $0.mayHaveLocalAPIC = true
            $0.mayHaveControllers = true
        }
    }

    /// The state of one of the two PICs. Corresponds to `KVM_GET_IRQCHIP`; needs KVM_CAP_IRQCHIP.
    ///
    /// - Throws: ENXIO without interrupt controllers in the kernel.
    public func picState(_ chip: PIC) throws(KVMError) -> PICState {
        PICState(chip: try chipBytes(chip.rawValue))
    }

    /// Corresponds to `KVM_SET_IRQCHIP`; needs KVM_CAP_IRQCHIP.
    public func setPICState(_ chip: PIC, _ state: PICState) throws(KVMError) {
        try setChipBytes(chip.rawValue, state.encode(into:))
    }

    /// The state of the IOAPIC. Corresponds to `KVM_GET_IRQCHIP`; needs KVM_CAP_IRQCHIP.
    ///
    /// - Throws: ENXIO without interrupt controllers in the kernel.
    public func ioapicState() throws(KVMError) -> IOAPICState {
        IOAPICState(chip: try chipBytes(UInt32(KVM_IRQCHIP_IOAPIC)))
    }

    /// Corresponds to `KVM_SET_IRQCHIP`; needs KVM_CAP_IRQCHIP.
    public func setIOAPICState(_ state: IOAPICState) throws(KVMError) {
        try setChipBytes(UInt32(KVM_IRQCHIP_IOAPIC), state.encode(into:))
    }

    private func chipBytes(_ chip: UInt32) throws(KVMError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<kvm_irqchip>.size)
        bytes.store(chip, at: 0)
        try handle.call(.getIRQChip, bytes: &bytes, advice: Self.irqchipAdvice)
        return bytes
    }

    private func setChipBytes(_ chip: UInt32, _ encode: (inout [UInt8]) -> Void) throws(KVMError) {
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<kvm_irqchip>.size)
        bytes.store(chip, at: 0)
        encode(&bytes)
        try handle.call(.setIRQChip, bytes: &bytes, advice: Self.irqchipAdvice)
    }

    private static func irqchipAdvice(_ errno: Errno) -> String? {
        switch errno {
        case .noSuchAddressOrDevice, .noSuchFileOrDirectory, .invalidArgument:
            "the VM has no such interrupt controller in the kernel (KVM_CREATE_IRQCHIP makes them)"
        default: nil
        }
    }

    /// Puts an i8254 timer into the kernel; needs ``createInterruptController()`` first.
    ///
    /// - Parameter speakerDummy: port 0x61 answers too.
    /// - Throws: ENOENT without interrupt controllers, also on kernels that would make a timer there which never
    ///   ticks (6.1 does: create_pit_timer in arch/x86/kvm/i8254.c); EEXIST if there is one.
    ///
    /// Corresponds to `KVM_CREATE_PIT2`; needs KVM_CAP_PIT2.
    public func createPIT(speakerDummy: Bool = true) throws(KVMError) {
        guard state.contents.withLock({ $0.mayHaveControllers }) else {
            throw KVMError(
                Request.createPIT2.name, .noSuchFileOrDirectory,
                advice: Self.pitCreationAdvice(.noSuchFileOrDirectory))
        }
        var argument = kvm_pit_config()
        argument.flags = speakerDummy ? UInt32(KVM_PIT_SPEAKER_DUMMY) : 0
        try handle.call(.createPIT2, &argument, advice: Self.pitCreationAdvice)
    }

    private static func pitCreationAdvice(_ errno: Errno) -> String? {
        switch errno {
        case .fileExists: "the VM has its timer already"
        case .noSuchFileOrDirectory: "make the interrupt controllers first (KVM_CREATE_IRQCHIP)"
        default: nil
        }
    }

    /// The state of the timer in the kernel. Corresponds to `KVM_GET_PIT2`; needs KVM_CAP_PIT_STATE2.
    ///
    /// - Throws: ENXIO without one.
    public func pitState() throws(KVMError) -> PITState {
        var argument = kvm_pit_state2()
        try handle.call(.getPIT2, &argument, advice: Self.pitAdvice)
        return PITState(argument)
    }

    /// Corresponds to `KVM_SET_PIT2`; needs KVM_CAP_PIT_STATE2.
    public func setPITState(_ state: PITState) throws(KVMError) {
        var argument = state.encoded
        try handle.call(.setPIT2, &argument, advice: Self.pitAdvice)
    }

    private static func pitAdvice(_ errno: Errno) -> String? {
        errno == .noSuchAddressOrDevice ? "the VM has no timer in the kernel (KVM_CREATE_PIT2 makes it)" : nil
    }

    /// Raises or lowers an input of the PICs (0 to 15) and the IOAPIC (0 to 23), or whatever the routing has.
    ///
    /// - Throws: ENXIO without interrupt controllers in the kernel.
    ///
    /// Corresponds to `KVM_IRQ_LINE`; needs KVM_CAP_IRQCHIP.
    public func setIRQLine(_ gsi: UInt32, _ level: Bool) throws(KVMError) {
        var argument = kvm_irq_level()
        argument.irq = gsi
        argument.level = level ? 1 : 0
        try handle.call(.irqLine, &argument, advice: Self.irqchipAdvice)
    }

    /// Sends a message-signalled interrupt.
    ///
    /// - Parameters:
    ///   - address: 0xFEE00000 with the destination in bits 12 to 19. SDM volume 3A, 11.11.1.
    ///   - data: the vector in bits 0 to 7. SDM volume 3A, 11.11.2.
    /// - Returns: false if the guest blocked it.
    /// - Throws: EINVAL or ENXIO without a local APIC in the kernel.
    ///
    /// Corresponds to `KVM_SIGNAL_MSI`; needs KVM_CAP_SIGNAL_MSI.
    public func signalMSI(address: UInt64, data: UInt32) throws(KVMError) -> Bool {
        var argument = kvm_msi()
        argument.address_lo = UInt32(truncatingIfNeeded: address)
        argument.address_hi = UInt32(truncatingIfNeeded: address >> 32)
        argument.data = data
        return try handle.call(.signalMSI, &argument, advice: Self.irqchipAdvice) > 0
    }

    /// The guest's kvmclock. Corresponds to `KVM_GET_CLOCK`; needs KVM_CAP_ADJUST_CLOCK.
    public func clock() throws(KVMError) -> ClockState {
        var argument = kvm_clock_data()
        try handle.call(.getClock, &argument)
        return ClockState(
            nanoseconds: argument.clock, flags: argument.flags, realTime: argument.realtime,
            hostTSC: argument.host_tsc)
    }

    /// Sets the guest's kvmclock.
    ///
    /// Of the flags only ``ClockState/hasRealTime`` may be set, and since Linux 5.16 alone (``check(_:)`` of
    /// ``Capability/adjustClock`` then has bit 2): the clock is then advanced by the time gone since `realTime`.
    ///
    /// - Throws: EINVAL for other flags.
    ///
    /// Corresponds to `KVM_SET_CLOCK`; needs KVM_CAP_ADJUST_CLOCK.
    public func setClock(_ clock: ClockState) throws(KVMError) {
        var argument = kvm_clock_data()
        argument.clock = clock.nanoseconds
        argument.flags = clock.flags
        argument.realtime = clock.realTime
        argument.host_tsc = clock.hostTSC
        try handle.call(.setClock, &argument) { errno in
            guard errno == .invalidArgument else { return nil }
            return check(.adjustClock) & 4 != 0
                ? "only the flag for real time (4) may be set"
                : "this kernel takes no flags (KVM_CAP_ADJUST_CLOCK)"
        }
    }
}
