import KVMCore
import X86

extension VCPUDriver: PlanningController {
    /// Many steps that nobody looks at, from an instruction that needs no care.
    var plan: StepPlan? {
        guard case .step(let count) = mission, isStepping, !isRetried, opcode == .ordinary, armed != nil,
            !breakpoints.contains(beforePC), count - steps > 1
        else { return nil }
        return StepPlan(
            count: UInt64(count - steps - 1),
            places: (0..<breakpoints.count).map { breakpoints.addresses[$0] },
            before: before)
    }

    func wentOn(_ count: UInt64, _ registers: SyncedRegisters) {
        steps += Int(clamping: count)
        before = registers.general
        beforePC = VCPUSnapshot.pc(registers.general, registers.special)
        isRetried = false
        // An ordinary instruction follows, or the plan would have ended.
        opcode = .ordinary
        handler = nil
    }
}
