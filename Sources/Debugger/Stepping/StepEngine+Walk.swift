import DebugTarget
import Disassembler
import KVMCore
import X86

/// An order that looks after each instruction.
extension StepEngine {
    /// Before an instruction of it: what that is, and whether it is run over.
    mutating func plan(_ walk: Walk, _ registers: GeneralRegisters, _ special: SpecialRegisters) {
        guard walk.stepsOver else { return }
        walked.stackBase = special.ss.base
        let instruction = decode(registers, special)
        walked.instruction = instruction
        // LOOP is no detour: code jumps out of such loops.
        guard let instruction,
            !instruction.traits.isDisjoint(with: [.call, .interrupt, .halt])
                || instruction.traits.isSuperset(of: [.string, .rep])
        else { return }
        let pushes = !instruction.traits.isDisjoint(with: [.call, .interrupt])
        let after = special.linear(.cs, instruction.next, mode: CPUMode(registers, special))
        let places = armedSet.registers
        walked.detour = Destination(
            linear: after,
            frame: pushes ? Destination.Frame(pointer: registers.rsp, base: special.ss.base) : nil,
            bySteps: !patching.fires(in: CodeContext(registers, special))
                || !places.contains(after) && places.count == ArmedBreakpoints.capacity,
            reason: .step(count: 1))
    }

    /// One instruction of it was executed: whether that is its end.
    mutating func end(
        of walk: Walk, _ pc: UInt64, _ registers: GeneralRegisters, _ special: SpecialRegisters,
        _ vcpu: any VCPUAccess
    ) -> StopReason? {
        switch walk.goal {
        case .instruction(let kind):
            guard let next = decode(registers, special), kind.includes(next) else { return nil }
            return .reached(.instruction(kind))
        case .condition(let expression, let text):
            return breakpoints.isTrue(expression, scene(registers, special, vcpu))
                ? .reached(.condition(text)) : nil
        case .out:
            return hasReturned(walk, registers, special) ? .reached(.returned) : nil
        case .outside(let range): return range.contains(pc) ? nil : .step(count: outcome.steps)
        case .beyond(let start):
            let isElsewhere =
                special.cs.base != walk.codeBase || CPUMode(registers, special) != walk.mode
            return pc > start || isElsewhere || hasReturned(walk, registers, special)
                ? .step(count: outcome.steps) : nil
        }
    }

    /// The instruction before was a return, and took its address from above where the order began: what the
    /// code has pushed since, as for a jump by PUSH and RET, lies below. On another stack neither is known, and only a
    /// CALL or INT before the place that it came to says that it returned.
    private func hasReturned(
        _ walk: Walk, _ registers: GeneralRegisters, _ special: SpecialRegisters
    ) -> Bool {
        guard let done = walked.instruction,
            !done.traits.isDisjoint(with: [.return, .interruptReturn, .systemReturn])
        else { return false }
        if walk.frame.isSameStack(pointer: here.registers.rsp, base: walked.stackBase) {
            return !walk.frame.isDeeper(pointer: here.registers.rsp, base: walked.stackBase)
        }
        // Who is interrupted from outside, or calls the system, has no CALL there.
        guard done.traits.isDisjoint(with: [.interruptReturn, .systemReturn]) else { return true }
        let snapshot = VCPUSnapshot(id: id, registers: registers, special: special, activity: .stopped)
        let walker = FrameWalker(
            snapshot, LinearMemory(memory: memory, special: special), Disassembler())
        return walker.standsBehindCall
    }
}
