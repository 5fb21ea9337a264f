import DebugTarget
import KVMCore
import X86

/// Calls of the guest to the machine's BIOS.
extension VCPURunner {
    /// Whether an exit is a call of the BIOS, and not of a device: the registers may not be final yet.
    func isFirmware(_ exit: VCPUExit) throws(KVMError) -> Bool {
        guard let bios = parts.bios, case .io(let io) = exit, io.direction == .out, io.port == BIOSROM.port,
            io.size == 1, io.count == 1
        else { return false }
        let special = try vcpu.specialRegisters()
        guard special.cs.base == BIOSROM.base else { return false }
        var general = try vcpu.registers()
        // RIP is after the OUT already, or still on it: hosts differ.
        if bios.entry(general, special) != nil { return true }
        general.rip &+= 2
        return bios.entry(general, special) != nil
    }

    /// The OUT of a stub was completed: does what it asks for.
    func serveFirmware(_ pace: RunPace) throws(KVMError) -> (call: FirmwareCall?, powerOff: PowerOff?) {
        guard let bios = parts.bios else { return (nil, nil) }
        let general = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        guard let entry = bios.entry(general, special) else { return (nil, nil) }
        var result = bios.perform(entry, general, special, parts.memory)
        // One that calls with interrupts on may have them on for a few instructions only, as GRUB has: what waits is taken
        // before the stub's IRET, with interrupts on inside the call.
        if let chips, result.ending == .returns, result.callerTakesInterrupts, !pace.holdsOffInterrupts {
            chips.advance()
            if chips.controllers.hasRequest {
                result.general.rflags.insert(.if)
                takesInterruptNow = true
            }
        }
        if let call = result.call { recorder.note(call) }
        // First the segments: general registers keep what single-step depends on.
        if result.changedSegments { try vcpu.setSpecialRegisters(result.special) }
        if result.general != general { try vcpu.setRegisters(result.general) }
        if result.ending == .resets {
            return (result.call, PowerOff(.firmwareReset, value: 0))
        }
        return (result.call, nil)
    }
}
