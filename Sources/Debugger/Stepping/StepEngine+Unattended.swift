import DebugTarget
import KVMCore
import X86

/// Steps that nobody looks at.
extension StepEngine {
    /// Many steps that nobody looks at, from an instruction that needs no care; nil where each is to be shown.
    var unattended: UnattendedSteps? {
        guard case .step(let count) = plan, isStepping, !here.isRetried, here.opcode.isOrdinary,
            !trapFlag.isSet, armed != nil, !patching.losesTF,
            armedSet.linear[here.pc] == nil, count - outcome.steps > 1,
            // Whoever makes the steps compares a few addresses and nothing else.
            armedSet.linear.count <= ArmedBreakpoints.capacity, armedSet.physical.isEmpty,
            armedSet.ahead.isEmpty,
            armedSet.watches.isEmpty, !armedSet.hasPatches, !armedSet.events.watchesSteps
        else { return nil }
        return UnattendedSteps(
            count: UInt64(min(count - outcome.steps - 1, Self.longestPlan)),
            places: armedSet.linear.keys,
            before: here.registers)
    }

    /// So few that they are over before one would be taken for lost.
    private static let longestPlan = 2000

    mutating func wentOn(_ count: UInt64, _ registers: SyncedRegisters) {
        outcome.steps += Int(clamping: count)
        blackBox.pass(count)
        here.registers = registers.general
        here.pc = VCPUSnapshot.pc(registers.general, registers.special)
        here.selector = registers.special.cs.selector
        here.retries = 0
        // An ordinary instruction follows, or the plan would have ended.
        here.opcode = .ordinary
        here.handler = nil
    }
}
