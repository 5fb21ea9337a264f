import DebugTarget
import KVMCore
import X86

/// What happens at HLT.
extension StepEngine {
    /// KVM_EXIT_HLT.
    mutating func decideHalt(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = trapFlag.shown(try vcpu.registers())
        if isStepping {
            let hasMoved = registers != here.registers
            if here.opcode.isHalt, hasMoved {
                return try completed(registers, vcpu, haltDelivered: true)
            }
            let wasDue = halt.takeDue()
            guard hasMoved else { return wasDue ? .resume : .stop(.hlt) }
            // Right after another HLT and none due: the guest ran on its own up to here.
            return try followsHalt(vcpu) && !wasDue
                ? .stop(.stepLost(.hlt)) : try completed(registers, vcpu)
        }
        if halt.takeDue(), !halt.beganAtHalt { return .resume }
        noteHalt()
        return halted()
    }

    /// A HLT that nothing here will end; where the target waits at it, the run goes on once there is an interrupt.
    mutating func halted() -> Verdict {
        halt.isParked = true
        if case .run = plan { return .park }
        if patching.waitsAtHalt { return .park }
        return .stop(.hlt)
    }

    /// A HLT that the target waited at is over.
    mutating func woke(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        halt.isParked = false
        // Where nothing is looked for it goes on as it ran: an idle guest comes here at each tick.
        if case .run = plan, !isStepping, !armedSet.hasPlaces, !armedSet.needsStepping { return .resume }
        let registers = trapFlag.shown(try vcpu.registers())
        let special = try vcpu.specialRegisters()
        let pc = VCPUSnapshot.pc(registers, special)
        prepare(registers, special, pc: pc, vcpu)
        if let verdict = emptyVectorAtHand(registers, special) { return verdict }
        isStepping = mustStep(pc, special)
        try arm(special, vcpu)
        return try proceed(vcpu)
    }

    private func followsHalt(_ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
        let pc = VCPUSnapshot.pc(registers, special)
        return LinearMemory(memory: memory, special: special).prefix(pc &- 1).bytes & 0xFF == 0xF4
    }
}
