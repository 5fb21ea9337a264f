import Disassembler
import X86

/// Orders that step, and look after each instruction whether they are there.
extension Debugger {
    /// Steps the selected vCPU until the next instruction is of `kind`; one step at least.
    public func startStep(until kind: InstructionKind) throws(DebuggerError) {
        let driver = try startable()
        try go([driver], selected: .walk(Walk(.instruction(kind), from: driver.snapshot)))
    }

    /// Steps the selected vCPU until an expression is not 0; one step at least.
    ///
    /// - Throws: what is wrong with the expression, as for a breakpoint's condition.
    public func startStep(untilTrue text: String) throws(DebuggerError) {
        let expression = try condition(text)
        let driver = try startable()
        try go([driver], selected: .walk(Walk(.condition(expression, text: text), from: driver.snapshot)))
    }

    /// Goes on until the code at hand returns to whoever called it: by a RET or IRET that takes its address from
    /// the stack as it is now. No frame pointer is needed: all is stepped, but calls and interrupts on the way are
    /// run.
    ///
    /// - Throws: `.refused` where nothing on the stack is a return address of this code.
    public func startFinish() throws(DebuggerError) {
        let driver = try startable()
        guard seesReturnAddress(driver.snapshot) else {
            throw DebuggerError(
                .refused,
                "no caller is to be seen: nothing on the stack from \(hex(driver.snapshot.registers.rsp)) up "
                    + "is the return address of a call to this code",
                remedy: "`step-until ret` or `step-until iret` goes to the next one, whatever it returns to")
        }
        try goWithOthers(driver, .out)
    }

    /// As a step that goes over calls, but never back: at the end of a loop, until the loop is over.
    public func startUntilPast() throws(DebuggerError) {
        let driver = try startable()
        try goWithOthers(driver, .beyond(driver.snapshot.pc))
    }

    private func goWithOthers(_ driver: VCPUDriver, _ goal: Walk.Goal) throws(DebuggerError) {
        var all = awake()
        if !all.contains(where: { $0 === driver }) { all.append(driver) }
        try go(all, selected: .walk(Walk(goal, from: driver.snapshot)))
    }

    // MARK: all vCPUs

    /// Steps each vCPU by `count` instructions, in turns. Those that are dead or wait to be started are left out;
    /// one that comes to a HLT steps no further.
    public func startStepAll(count: Int = 1) throws(DebuggerError) {
        try checkCount(count)
        _ = try startable()
        let able = drivers.filter { canGoOn($0) && $0.snapshot.activity != .waiting }
        guard let turns = StepTurns(able.map(\.id), count: count) else {
            throw DebuggerError(
                .refused, "no vCPU can step: they wait for INIT and SIPI, or are dead",
                remedy: "`continue` lets all go")
        }
        isInterrupted = false
        try goTurn(turns)
        self.turns = turns
    }

    private func goTurn(_ turns: StepTurns) throws(DebuggerError) {
        let driver = try driver(turns.vcpu)
        try go([driver], selected: .step(count: turns.steps), of: driver.id)
    }

    /// Of `step all N`, a turn is over; true if another has begun.
    func takeTurn(_ report: inout StopReport, _ running: inout Order, steps: Int) throws(DebuggerError)
        -> Bool
    {
        guard var turns else { return false }
        // All may have moved.
        running.only = nil
        switch report.reason {
        case .step: break
        case .hlt where turns.vcpu == report.vcpu: break
        default: return false
        }
        let place = drivers.firstIndex { $0.id == report.vcpu }
        if let place { noteTurn(drivers[place]) }
        let hasHalted = report.reason == .hlt
        guard turns.next(hasHalted: hasHalted) else {
            if turns.finished > 0 {
                report = StopReport(vcpu: selectedVCPU, reason: .step(count: turns.count))
            }
            return false
        }
        try goTurn(turns)
        self.turns = turns
        order?.started = running.started
        order?.steps = steps
        return true
    }

    /// What it came to in its turn is settled at the stop of all.
    private func noteTurn(_ driver: VCPUDriver) {
        if driver.passedHalt { driver.snapshot.activity = .halted }
    }
}
