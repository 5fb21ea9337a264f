public import DebugTarget
import Disassembler
import X86

/// Orders that step, and look after each instruction whether they are there.
extension Debugger {
    /// Steps the selected vCPU until the next instruction is of `kind`; one step at least.
    public func startStep(until kind: InstructionKind) throws(DebuggerError) {
        let vcpu = try startable()
        try go([vcpu], selected: .walk(Walk(.instruction(kind), from: vcpu.snapshot)))
    }

    /// Steps the selected vCPU until an expression is not 0; one step at least.
    ///
    /// - Throws: what is wrong with the expression, as for a breakpoint's condition.
    public func startStep(untilTrue text: String) throws(DebuggerError) {
        let expression = try condition(text)
        let vcpu = try startable()
        try go([vcpu], selected: .walk(Walk(.condition(expression, text: text), from: vcpu.snapshot)))
    }

    /// Steps the selected vCPU until it is outside of these linear addresses; one step at least.
    public func startStep(outOf range: Range<UInt64>) throws(DebuggerError) {
        let vcpu = try startable()
        try go([vcpu], selected: .walk(Walk(.outside(range), from: vcpu.snapshot)))
    }

    /// Goes on until the code at hand returns to whoever called it: by a RET or IRET that takes its address from
    /// the stack as it is now. No frame pointer is needed: all is stepped, but calls and interrupts on the way are
    /// run.
    ///
    /// - Throws: `.refused` where nothing on the stack is a return address of this code.
    public func startFinish() throws(DebuggerError) {
        let vcpu = try startable()
        guard seesReturnAddress(vcpu.snapshot) else {
            throw DebuggerError(
                .refused,
                "no caller is to be seen: nothing on the stack from \(hex(vcpu.snapshot.registers.rsp)) up "
                    + "is the return address of a call to this code",
                advice: .stepToReturn)
        }
        try goWithOthers(vcpu, .out)
    }

    /// As a step that goes over calls, but never back: at the end of a loop, until the loop is over.
    public func startUntilPast() throws(DebuggerError) {
        let vcpu = try startable()
        try goWithOthers(vcpu, .beyond(vcpu.snapshot.pc))
    }

    private func goWithOthers(_ vcpu: DebuggedVCPU, _ goal: Walk.Goal) throws(DebuggerError) {
        try go(withAwake(vcpu), selected: .walk(Walk(goal, from: vcpu.snapshot)))
    }

    // MARK: all vCPUs

    /// Steps each vCPU by `count` instructions, in turns. Those that are dead or wait to be started are left out;
    /// one that comes to a HLT steps no further.
    public func startStepAll(count: Int = 1) throws(DebuggerError) {
        try checkCount(count)
        _ = try startable()
        let able = vcpus.filter { canGoOn($0) && $0.snapshot.activity != .waiting }
        guard let turns = StepTurns(able.map(\.id), count: count) else {
            throw DebuggerError(
                .refused, "no vCPU can step: they wait for INIT and SIPI, or are dead",
                advice: .continueAll)
        }
        var progress = OrderProgress()
        progress.turns = turns
        try goTurn(turns, progress)
    }

    private func goTurn(_ turns: StepTurns, _ progress: OrderProgress) throws(DebuggerError) {
        let vcpu = try vcpu(turns.vcpu)
        try go([vcpu], selected: .step(count: turns.steps), of: vcpu.id, progress)
    }

    /// Of `step all N`, a turn is over; true if another has begun.
    func takeTurn(_ report: inout StopReport, _ running: inout Order) throws(DebuggerError) -> Bool {
        guard var turns = running.progress.turns else { return false }
        switch report.reason {
        case .step: break
        case .hlt where turns.vcpu == report.vcpu: break
        default: return false
        }
        // What it came to in its turn is settled at the stop of all.
        if let vcpu = vcpus.first(where: { $0.id == report.vcpu }), vcpu.last.passedHalt {
            vcpu.last.snapshot.activity = .halted
        }
        guard turns.next(hasHalted: report.reason == .hlt) else {
            if turns.finished > 0 {
                report = StopReport(vcpu: selectedVCPU, reason: .step(count: turns.count))
            }
            return false
        }
        running.progress.turns = turns
        try goTurn(turns, running.progress)
        return true
    }
}
