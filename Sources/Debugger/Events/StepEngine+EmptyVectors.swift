import DebugTarget
import KVMCore
import Synchronization
import X86

extension Debugger {
    /// Whether the guest stops where it goes, in real mode, to a vector that holds 0000:0000, and in the other modes to
    /// zeros at address 0; on at first for a guest of our own, off for one that another program runs.
    public var stopsAtEmptyVectors: Bool {
        get { patching.stopsAtEmptyVectors.load(ordering: .relaxed) }
        set { patching.stopsAtEmptyVectors.store(newValue, ordering: .relaxed) }
    }
}

/// Stops where a guest without a BIOS asks for one: at an INT whose vector is empty, and at 0000:0000.
///
/// While the guest is stepped each instruction is looked at. While it runs freely a debug register stands at linear
/// address 0, if one is left and some vector is empty, or no code stands there, as the order begins.
extension StepEngine {
    private var checksVectors: Bool { patching.stopsAtEmptyVectors.load(ordering: .relaxed) }

    /// Before an order: the debug register at 0 is wanted for it.
    mutating func prepareGuard(_ registers: GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64) {
        guardsZero = false
        guard checksVectors, pc != 0 else { return }
        let finder = EmptyVectorFinder(
            registers: registers, view: LinearMemory(memory: memory, special: special))
        guardsZero = finder.hasEmptyVectors || finder.hasZerosAtZero
    }

    /// The instruction at hand is an INT that leads nowhere: the verdict that leaves the vCPU in front of it.
    func emptyVectorAtHand(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> Verdict? {
        guard case .softwareInterrupt = here.opcode, checksVectors, !special.cr0.contains(.pe) else {
            return nil
        }
        return EmptyVectorFinder(
            registers: registers, view: LinearMemory(memory: memory, special: special)
        ).atHand(here.opcode).map { .stop(.emptyVector($0)) }
    }

    /// The vCPU has come to linear address 0. An INT is taken back: the vCPU stands in front of it, as if it were
    /// stepped; what it had pushed lies below the stack pointer again.
    mutating func arrived(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict? {
        guard VCPUSnapshot.pc(registers, special) == 0, checksVectors else { return nil }
        let finder = EmptyVectorFinder(
            registers: registers, view: LinearMemory(memory: memory, special: special))
        guard let found = finder.arrived() else {
            // Code stands there.
            guardsZero = false
            return nil
        }
        if case .software = found.way, let pushed = finder.pushed() {
            armed = nil
            try vcpu.setSpecialRegisters(pushed.special)
            try vcpu.setRegisters(pushed.registers)
        }
        return .stop(.emptyVector(found))
    }
}
