import KVMCore
import X86

/// All that a vCPU holds before its first KVM_RUN, to be given back to it: KVM cannot make a vCPU of the same id twice.
struct VCPUStartState: Sendable {
    /// As at the processor's reset, before an entry was set.
    let reset: SpecialRegisters
    private let general: GeneralRegisters
    private let special: SpecialRegisters
    private let debug: DebugRegisters
    private let extended: XSAVEArea?
    private let control: [XCR]
    private let events: VCPUEvents
    private let mpState: MPState
    private let localAPIC: LocalAPICState?
    private let msrs: [MSRValue]

    /// IA32_TIME_STAMP_COUNTER. Time goes on between two readings, so that it is set to 0 and not to what it was: KVM
    /// takes equal values of several vCPUs for one clock (kvm_synchronize_tsc in arch/x86/kvm/x86.c).
    private static let timeStampCounter: UInt32 = 0x10

    /// - Parameter indexes: KVM_GET_MSR_INDEX_LIST.
    init(of vcpu: VCPU, reset: SpecialRegisters, msrs indexes: [UInt32], hasLocalAPIC: Bool) throws(KVMError)
    {
        self.reset = reset
        general = try vcpu.registers()
        special = try vcpu.specialRegisters()
        debug = try vcpu.debugRegisters()
        extended = try? vcpu.xsave()
        control = (try? vcpu.xcrs()) ?? []
        events = try vcpu.events()
        mpState = try vcpu.mpState()
        localAPIC = hasLocalAPIC ? try vcpu.localAPIC() : nil
        // Some are listed and cannot be read in a VM like this one.
        msrs = indexes.filter { $0 != Self.timeStampCounter }.compactMap { index in
            (try? vcpu.msr(index)).map { MSRValue(index: index, value: $0) }
        }
    }

    /// Where ``drainCode`` is to stand for ``restore(_:)``.
    static let drainAddress: UInt64 = 0x500
    /// `nop; out 0x80, al`.
    static let drainCode: [UInt8] = [0x90, 0xE6, 0x80]

    /// On the vCPU's thread, between two runs of its own.
    func restore(_ vcpu: VCPU) throws(KVMError) {
        while vcpu.isIOPending { _ = try vcpu.completeIO() }
        try vcpu.setGuestDebug(.off)
        // One that sleeps or waits for SIPI takes registers, and an event would wake it later.
        try vcpu.setMPState(.runnable)
        if localAPIC == nil { try drain(vcpu) }
        // Before the special registers: what KVM checks them by.
        for msr in msrs where (try? vcpu.msr(msr.index)) != msr.value {
            // One that cannot be written is no state of the guest's.
            try? vcpu.setMSR(msr.index, msr.value)
        }
        try vcpu.setSpecialRegisters(special)
        try vcpu.setRegisters(general)
        try vcpu.setDebugRegisters(debug)
        if !control.isEmpty { try vcpu.setXCRs(control) }
        if let extended { try vcpu.setXSAVE(extended) }
        try vcpu.setMSR(Self.timeStampCounter, 0)
        if let localAPIC { try vcpu.setLocalAPIC(localAPIC) }
        try vcpu.setEvents(events)
        if mpState != .runnable { try vcpu.setMPState(mpState) }
    }

    /// A HLT that was stepped has its exit still to come, at the next KVM_RUN and after one more instruction, and
    /// nothing but that takes it away: it would end the new run.
    private func drain(_ vcpu: VCPU) throws(KVMError) {
        let (general, special) = VCPUSetup.registers(
            .realMode(segment: 0, offset: UInt16(Self.drainAddress)), reset: reset)
        try vcpu.setSpecialRegisters(special)
        try vcpu.setRegisters(general)
        // A kick that came late ends one for nothing.
        for _ in 0..<8 {
            if case .interrupted = try vcpu.run() { continue }
            break
        }
        while vcpu.isIOPending { _ = try vcpu.completeIO() }
    }
}

/// The kernel's interrupt controllers and timer before the first KVM_RUN.
struct KernelChipState: Sendable {
    private let master: PICState
    private let slave: PICState
    private let ioapic: IOAPICState
    private let pit: PITState

    init(of vm: borrowing VirtualMachine) throws(KVMError) {
        master = try vm.picState(.master)
        slave = try vm.picState(.slave)
        ioapic = try vm.ioapicState()
        pit = try vm.pitState()
    }

    func restore(_ vm: borrowing VirtualMachine) throws(KVMError) {
        try vm.setPICState(.master, master)
        try vm.setPICState(.slave, slave)
        try vm.setIOAPICState(ioapic)
        try vm.setPITState(pit)
    }
}
