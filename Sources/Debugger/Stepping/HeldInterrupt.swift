import DebugTarget
import KVMCore
import Synchronization
import X86

/// An interrupt that waits because the debugger holds it off while it steps: the guest would have taken it.
public enum HeldInterrupt: Sendable, Hashable {
    case vector(UInt8)
    case nmi
    case smi
}

extension Debugger {
    /// Whether steps take interrupts; off at first. Takes effect with the next step.
    public var takesInterruptsWhileStepping: Bool {
        get { patching.takesInterrupts.load(ordering: .relaxed) }
        set { patching.takesInterrupts.store(newValue, ordering: .relaxed) }
    }

    /// KVM can hold interrupts off while it steps (KVM_GUESTDBG_BLOCKIRQ).
    public var canHoldInterrupts: Bool { target.debugAbilities.contains(.blockInterrupts) }

    /// The interrupt that the steps up to the current stop have held off on its vCPU. One that the guest holds off
    /// itself, by IF or a mask, is none of ours. Nil, too, where nothing can be known.
    ///
    /// Asked for when a stop is shown, for it costs more than a step.
    public func heldInterrupt() -> HeldInterrupt? {
        guard !isRunning, !isRevisiting, let vcpu = try? vcpu(stop.vcpu), vcpu.last.holdsOffInterrupts,
            mayHaveInterrupts
        else { return nil }
        let (flags, special) = (vcpu.snapshot.registers.rflags, vcpu.snapshot.special)
        let (id, chips) = (vcpu.id, target as? any InterruptControllerProviding)
        let due = try? target.withVCPU(vcpu.id) { vcpu in
            try DueInterrupt(vcpu, id: id, isEnabled: flags.contains(.if), special, chips)
        }
        guard case .interrupt(let held)? = due else { return nil }
        return held
    }

    /// False for a machine of ours that has nothing to interrupt with.
    private var mayHaveInterrupts: Bool {
        (target as? any InterruptControllerProviding)?.hasInterruptControllers ?? true
    }
}

/// What a vCPU would take before its next instruction if nothing held it off.
enum DueInterrupt: Sendable, Hashable {
    case interrupt(HeldInterrupt)
    case nothing
    /// Not all that could ask is seen: the chips are another program's.
    case unknown

    /// - Parameters:
    ///   - isEnabled: IF.
    ///   - special: the vCPU's, for IA32_APIC_BASE.
    ///   - chips: the two PICs, where they are the target's own or the kernel's.
    init(
        _ vcpu: any VCPUAccess, id: Int, isEnabled: Bool, _ special: SpecialRegisters,
        _ chips: (any InterruptControllerProviding)?
    ) throws(KVMError) {
        let events = try vcpu.events()
        if events.smiPending {
            self = .interrupt(.smi)
        } else if events.nmiPending > 0, !events.nmiMasked {
            self = .interrupt(.nmi)
        } else if !isEnabled {
            self = .nothing
        } else if events.interruptInjected {
            self = .interrupt(.vector(events.interruptVector))
        } else {
            self = Self.requested(try? vcpu.localAPIC(), ofBoot: id == 0, special, chips)
        }
    }

    /// - Parameters:
    ///   - apic: nil where it is not the kernel's.
    ///   - ofBoot: without a local APIC the PICs are wired to the boot processor.
    private static func requested(
        _ apic: LocalAPICState?, ofBoot: Bool, _ special: SpecialRegisters,
        _ chips: (any InterruptControllerProviding)?
    ) -> DueInterrupt {
        if let vector = apic?.deliverable { return .interrupt(.vector(vector)) }
        if let apic, !apic.takesPIC(special) { return .nothing }
        guard let chips else { return .unknown }
        guard apic != nil || ofBoot, let vector = chips.pendingVector else { return .nothing }
        return .interrupt(.vector(vector))
    }
}

extension InterruptControllerProviding {
    /// The vector that the two PICs would give.
    fileprivate var pendingVector: UInt8? {
        guard var primary = try? picState(.master), let secondary = try? picState(.slave) else { return nil }
        // The secondary one is input 2 of the primary.
        let cascaded = secondary.request
        if cascaded == nil { primary.irr &= ~4 }
        guard let input = primary.request else { return nil }
        if input == 2, let cascaded { return secondary.vectorBase &+ cascaded }
        return primary.vectorBase &+ input
    }
}

extension PICState {
    /// The input that asks for an interrupt, unless one of the same or a higher priority is in service. Source: Intel
    /// 8259A data sheet, fully nested mode.
    var request: UInt8? {
        let asking = irr & ~imr
        guard asking != 0 else { return nil }
        for step in 0..<UInt8(8) {
            let input = (priorityAdd &+ step) & 7
            if isr >> input & 1 != 0 { return nil }
            if asking >> input & 1 != 0 { return input }
        }
        return nil
    }
}

extension LocalAPICState {
    /// The vector of the highest request, if its class is above what the processor works at. Source: SDM volume 3A,
    /// 11.8.3 and 11.8.4.
    var deliverable: UInt8? {
        // Software-enabled: bit 8 of the spurious-interrupt vector register.
        guard self[0xF0] & 0x100 != 0, let request = highest(from: 0x200) else { return nil }
        let task = UInt8(truncatingIfNeeded: self[0x80])
        let served = highest(from: 0x100) ?? 0
        let level = max(task & 0xF0, served & 0xF0)
        return request & 0xF0 > level ? request : nil
    }

    /// It passes the PIC's interrupts on: it is switched off in IA32_APIC_BASE (bit 11), or LINT0 is ExtINT and not
    /// masked. Source: kvm_apic_accept_pic_intr in arch/x86/kvm/lapic.c, which does not ask for the software enable.
    func takesPIC(_ special: SpecialRegisters) -> Bool {
        special.apicBase & 1 << 11 == 0 || self[0x350] & 0x1_0700 == 0x700
    }

    /// The highest bit of 256 that stand in eight registers, 16 bytes apart.
    private func highest(from offset: Int) -> UInt8? {
        for place in (0..<8).reversed() {
            let word = self[offset + place * 16]
            if word != 0 { return UInt8(place * 32 + 31 - word.leadingZeroBitCount) }
        }
        return nil
    }
}
