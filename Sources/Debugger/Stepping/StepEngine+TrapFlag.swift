import DebugTarget
import Disassembler
import KVMCore
import X86

/// Instructions that have to do with TF: what they push is mended, and the guest gets the traps of its own.
extension StepEngine {
    mutating func showTrapFlag(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard trapFlag.isHidden else { return }
        armed = nil
        try vcpu.setGuestDebug(.off)
        trapFlag.isHidden = false
        try restoreTrapFlag(vcpu)
    }

    /// Single-step was switched off, and TF with it.
    func restoreTrapFlag(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard trapFlag.isSet else { return }
        var registers = try vcpu.registers()
        registers.rflags.insert(.tf)
        try vcpu.setRegisters(registers)
    }

    /// An instruction that has to do with RFLAGS or SS was executed, or the guest steps itself.
    ///
    /// - Returns: true where a trap of the guest's own is on its way: the instruction is over when it is there.
    mutating func settleTrapFlag(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Bool {
        let stack = StackImage(LinearMemory(memory: memory, special: special))
        let had = trapFlag.isSet
        // MOV SS and POP SS hold the trap off for one instruction (SDM volume 3A, 6.8.3).
        var traps = had
        switch here.opcode {
        case .pushesFlags: stack.mend(flagsAt: stack.address(registers, 0), to: had)
        case .loadsFlags: trapFlag.isSet = trapFlag.loaded
        case .softwareInterrupt(let vector):
            guard pc == here.handler else { break }
            let offset = InterruptEntry.flagsOffset(vector, stack.view)
            stack.mend(flagsAt: stack.address(registers, offset), to: had)
            trapFlag.isSet = false
            traps = false
        case .loadsStackSegment:
            traps = false
            noteDoubleStep(special, pc)
        case .ordinary, .halt, .allowsInterrupts, .repeatsString: break
        }
        guard traps else { return false }
        try deliverTrap(trapFlag.settled(registers), special, vcpu)
        return true
    }

    /// Hosts that step with TF do not stop right after an instruction that loads SS.
    private mutating func noteDoubleStep(_ special: SpecialRegisters, _ pc: UInt64) {
        guard let instruction = decode(here.registers, special) else { return }
        let next = special.linear(.cs, instruction.next, mode: CPUMode(here.registers, special))
        guard next != pc else { return }
        outcome.steps += 1
        outcome.steppedTwo = true
        armed = nil
    }

    /// Gives the guest the trap of its own TF: KVM delivers #DB, and stops at its handler.
    private mutating func deliverTrap(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) {
        here.registers = registers
        here.handler = InterruptEntry.linear(1, LinearMemory(memory: memory, special: special))
        here.retries = InstructionAtHand.mostRetries
        here.faultHandlers = []
        here.isDelivery = true
        isStepping = true
        armed = nil
        let needs = neededDebug()
        here.unarmedHandlers = needs.unarmed
        let isStopped = needs.unarmed.isEmpty || patching.patchKind(in: here.context.kernel) != nil
        trapFlag.isDelivering = here.handler != nil && isStopped
        var debug = needs.guestDebug
        if trapFlag.isDelivering { debug.control.subtract([.singleStep, .blockInterrupts]) }
        try vcpu.setGuestDebug(debug)
        trapFlag.isHidden = debug.control.contains(.singleStep)
        var pushed = registers
        pushed.rflags.insert(.tf)
        try vcpu.setRegisters(pushed)
        try inject(debug, vcpu)
        // Where no handler can be found there is nothing to stop at, nor a frame to mend.
        if !trapFlag.isDelivering { trapFlag.isSet = false }
    }

    /// The trap of the guest's own TF came to us, while the guest ran freely.
    mutating func passTrapOn(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        armed = nil
        try inject(neededDebug().guestDebug, vcpu)
        return .resume
    }

    private func inject(_ debug: GuestDebug, _ vcpu: any VCPUAccess) throws(KVMError) {
        var registers = try vcpu.debugRegisters()
        registers.dr6 |= 1 << 14
        try vcpu.setDebugRegisters(registers)
        var debug = debug
        debug.control.formUnion([.enable, .injectDB])
        try vcpu.setGuestDebug(debug)
    }

    /// The guest is at the first instruction of its #DB handler.
    mutating func trapWasDelivered(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        trapFlag.isDelivering = false
        trapFlag.isSet = false
        var registers = try vcpu.registers()
        registers.rflags.remove(.tf)
        return try concluded(registers, try vcpu.specialRegisters(), vcpu)
    }

    /// A step that led far away may have ended in an exception or an interrupt: then the TF of the RFLAGS that it pushed
    /// is mended. KVM pushes the TF of its own single step with them, and the processor clears TF on the way.
    ///
    /// - Returns: whether it was one.
    mutating func mendException(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> Bool {
        let stack = StackImage(LinearMemory(memory: memory, special: special))
        guard let flags = stack.flagsOfException(at: here, registers) else { return false }
        stack.mend(flagsAt: flags, to: trapFlag.isSet)
        trapFlag.isSet = false
        armed = nil
        return true
    }
}
