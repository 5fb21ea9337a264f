import DebugTarget
import KVMCore
import X86

/// Interrupts that come while the guest is stepped but goes on as if it ran: for a catchpoint or a watchpoint that is
/// found by stepping, or because the user wants it.
extension StepEngine {
    /// On a host that steps with TF an interrupt takes TF away, and its handler runs unseen. So interrupts come in one at
    /// a time there: the next one is known before the step, and its handler is stopped at as an exception's is; while
    /// none is due they are held off, so that none comes unknown. At HLT they are what ends it.
    ///
    /// Right after an IRET they are held off, too: where a step takes longer than a timer's period one is due at each, and
    /// the code that is interrupted would never go on.
    ///
    /// Called where the instruction's own handlers are known already.
    mutating func prepareInterrupt(_ special: SpecialRegisters, _ vcpu: any VCPUAccess) throws(KVMError) {
        guard here.registers.rflags.contains(.if), !here.opcode.isHalt else { return }
        if here.followsFlags {
            here.holdsOffInterrupts = true
            return
        }
        let vector: UInt8
        switch try DueInterrupt(vcpu, id: id, isEnabled: true, special, patching.chips) {
        case .nothing:
            here.holdsOffInterrupts = true
            return
        case .unknown, .interrupt(.smi): return
        case .interrupt(.nmi): vector = 2
        case .interrupt(.vector(let due)): vector = due
        }
        let view = LinearMemory(memory: memory, special: special)
        guard let handler = InterruptEntry.linear(vector, view) else { return }
        // A breakpoint at the instruction to be stepped would fire before it. The interrupt comes with the next one.
        if handler == here.pc {
            here.holdsOffInterrupts = true
        } else if !here.faultHandlers.contains(handler) {
            here.faultHandlers.insert(handler, at: 0)
        }
    }
}
