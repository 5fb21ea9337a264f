import KVMCore
import X86

extension VCPUDriver: PlanningController {
    /// Many steps that nobody looks at, from an instruction that needs no care.
    var plan: StepPlan? {
        guard case .step(let count) = mission, isStepping, !isRetried, opcode == .ordinary, !hasTF,
            armed != nil, !patching.losesTF,
            armedSet.linear[beforePC] == nil, count - steps > 1,
            // Whoever makes the steps compares a few addresses and nothing else.
            armedSet.linear.count <= ArmedBreakpoints.capacity, armedSet.physical.isEmpty,
            armedSet.watches.isEmpty, !armedSet.hasPatches, !armedSet.events.watchesSteps
        else { return nil }
        return StepPlan(
            count: UInt64(min(count - steps - 1, Self.longestPlan)),
            places: armedSet.linear.keys,
            before: before)
    }

    /// Steps that nobody hears of: so few that they are over before one would be taken for lost.
    private static let longestPlan = 2000

    func wentOn(_ count: UInt64, _ registers: SyncedRegisters) {
        steps += Int(clamping: count)
        blackBox.pass(count)
        before = registers.general
        beforePC = VCPUSnapshot.pc(registers.general, registers.special)
        beforeSelector = registers.special.cs.selector
        isRetried = false
        // An ordinary instruction follows, or the plan would have ended.
        opcode = .ordinary
        handler = nil
    }
}
