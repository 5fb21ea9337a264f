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
        let isEnabled = vcpu.snapshot.registers.rflags.contains(.if)
        let found = try? target.withVCPU(vcpu.id) { vcpu -> (HeldInterrupt?, LocalAPICState?) in
            let events = try vcpu.events()
            if events.smiPending { return (.smi, nil) }
            if events.nmiPending > 0, !events.nmiMasked { return (.nmi, nil) }
            guard isEnabled else { return (nil, nil) }
            if events.interruptInjected { return (.vector(events.interruptVector), nil) }
            return (nil, try? vcpu.localAPIC())
        }
        guard let (held, apic) = found else { return nil }
        if held != nil || !isEnabled { return held }
        if let vector = apic?.deliverable { return .vector(vector) }
        let isBoot = target.vcpus.first { $0.id == vcpu.id }?.isBoot ?? false
        return isBoot && apic?.takesPIC ?? true ? picInterrupt().map { .vector($0) } : nil
    }

    /// False for a machine of ours that has nothing to interrupt with.
    private var mayHaveInterrupts: Bool {
        (target as? any InterruptControllerProviding)?.hasInterruptControllers ?? true
    }

    /// The vector that the two PICs would give.
    private func picInterrupt() -> UInt8? {
        guard let chips = target as? any InterruptControllerProviding,
            var primary = try? chips.picState(.master), let secondary = try? chips.picState(.slave)
        else { return nil }
        // The secondary one is input 2 of the primary.
        let behind = secondary.request
        if behind == nil { primary.irr &= ~4 }
        guard let input = primary.request else { return nil }
        if input == 2, let behind { return secondary.vectorBase &+ behind }
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

    /// It passes the PIC's interrupts on: it is off, or LINT0 is ExtINT and not masked.
    var takesPIC: Bool {
        guard self[0xF0] & 0x100 != 0 else { return true }
        return self[0x350] & 0x1_0700 == 0x700
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
