import DebugTarget
import KVMCore
import X86

/// What the guest's registers were at a call of the BIOS, with RIP after its OUT.
struct EnteredFirmware {
    var entry: BIOSROM.Entry
    var general: GeneralRegisters
    var special: SpecialRegisters
}

/// Calls of the guest to the machine's BIOS.
extension VCPURunner {
    /// An exit that is not one costs no more than this.
    func mayCallFirmware(_ exit: VCPUExit) -> Bool {
        guard case .io(let io) = exit else { return false }
        return io.port == BIOSROM.port && io.direction == .out && io.size == 1 && io.count == 1
            && parts.bios != nil
    }

    /// The call of the BIOS that an exit is; nil for an access to a device. The OUT may not be completed yet.
    func firmwareCall(_ exit: VCPUExit) throws(KVMError) -> EnteredFirmware? {
        guard let bios = parts.bios, mayCallFirmware(exit) else { return nil }
        let special = try vcpu.specialRegisters()
        guard special.cs.base == BIOSROM.base else { return nil }
        let general = try vcpu.registers()
        if let entry = bios.entry(general, special) {
            return EnteredFirmware(entry: entry, general: general, special: special)
        }
        // RIP is after the OUT already, or still on it: hosts differ.
        var completed = general
        completed.rip &+= 2
        guard let entry = bios.entry(completed, special) else { return nil }
        return EnteredFirmware(entry: entry, general: completed, special: special)
    }

    /// Does what a stub asks for. Registers that change are set where its OUT is completed, else they wait for the next
    /// KVM_RUN, which costs no call.
    ///
    /// - Parameter complete: completes the OUT.
    func serveFirmware(
        _ entered: EnteredFirmware, _ pace: RunPace, complete: () throws(KVMError) -> Void
    ) throws(KVMError) -> (call: FirmwareCall?, powerOff: PowerOff?) {
        guard let bios = parts.bios else { return (nil, nil) }
        var result = bios.perform(entered.entry, entered.general, entered.special, parts.memory)
        // One that calls with interrupts on may have them on for a few instructions only, as GRUB has: what waits is taken
        // before the stub's IRET, with interrupts on inside the call.
        if result.ending == .returns, result.callerTakesInterrupts, !pace.holdsOffInterrupts {
            if let chips {
                chips.advance()
                if chips.controllers.hasRequest {
                    result.general.rflags.insert(.if)
                    takesInterruptNow = true
                }
            } else {
                // Whether the kernel's controllers have a request would cost a call to know.
                result.general.rflags.insert(.if)
            }
        }
        if let call = result.call { recorder.note(call) }
        if result.changedSegments {
            // First the segments: general registers keep what single-step depends on.
            try complete()
            try vcpu.setSpecialRegisters(result.special)
            try vcpu.setRegisters(result.general)
        } else if !vcpu.isIOPending {
            if result.general != entered.general { try vcpu.setRegisters(result.general) }
        } else if result.general != (try vcpu.registers()) {
            _ = vcpu.setRegistersWithNextRun(result.general)
        }
        if result.ending == .resets {
            return (result.call, PowerOff(.firmwareReset, value: 0))
        }
        return (result.call, nil)
    }
}
