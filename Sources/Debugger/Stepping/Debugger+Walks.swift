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
    /// - Throws: `.refused` where nothing on the stack looks like a return address.
    public func startFinish() throws(DebuggerError) {
        let driver = try startable()
        guard seesReturnAddress(driver.snapshot) else {
            throw DebuggerError(
                .refused,
                "no caller is to be seen: nothing on the stack from \(hex(driver.snapshot.registers.rsp)) up "
                    + "looks like a return address",
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
        let able = drivers.filter { $0.snapshot.activity != .dead && $0.snapshot.activity != .waiting }
        guard let turns = StepTurns(able.map(\.id), count: count) else {
            throw DebuggerError(
                .refused, "no vCPU can step: they wait for INIT and SIPI, or are dead",
                remedy: "`continue` lets all go")
        }
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

    // MARK: callers

    /// How far up the stack a return address is looked for, in bytes.
    private static let returnReach = 1024

    /// Whether something on the stack may be a return address: behind a CALL or INT, or part of what an interrupt
    /// pushes.
    func seesReturnAddress(_ snapshot: VCPUSnapshot) -> Bool {
        let view = view(of: snapshot)
        let width = snapshot.mode.codeWidth(cs: snapshot.special.cs.attributes) / 8
        let stack = snapshot.special.linear(.ss, snapshot.registers.rsp, mode: snapshot.mode)
        // A stack below the code that runs ends there; how far that code reaches down is a guess.
        let code = snapshot.pc & ~0x1FF
        let reach = code >= stack ? min(UInt64(Self.returnReach), code - stack) : UInt64(Self.returnReach)
        guard reach >= UInt64(width) else { return false }
        let image = view.read(stack, count: Int(reach), .linear(stack))
        let bytes = image.leading
        guard bytes.count >= width else { return false }
        let words = stride(from: 0, to: bytes.count - width + 1, by: width).map { start in
            (0..<width).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << UInt64($1 * 8) }
        }
        for (place, word) in words.enumerated() where word != 0 {
            if call(returningTo: word, vcpu: snapshot.id) != nil { return true }
            let before = snapshot.special.linear(.cs, word &- 2, mode: snapshot.mode)
            if word >= 2, view.word(before, size: 1) == 0xCD { return true }
            guard place + 2 < words.count else { continue }
            if Self.isInterruptFrame(words[place + 1], flags: words[place + 2], snapshot) { return true }
            // A far return leads to another segment.
            if isFarReturn(offset: word, selector: words[place + 1], view, snapshot) { return true }
        }
        return false
    }

    /// CS and RFLAGS as an interrupt pushes them: bit 1 is always set, bits 3, 5 and 15 never, and IF or one of the
    /// arithmetic flags nearly always. Source: SDM volume 1, 3.4.3.
    private static func isInterruptFrame(_ selector: UInt64, flags: UInt64, _ snapshot: VCPUSnapshot) -> Bool
    {
        guard selector <= 0xFFFF, flags & 0x802A == 2, flags >> 22 == 0 else { return false }
        return selector == UInt64(snapshot.special.cs.selector) || flags & 0x200 != 0
    }

    private func isFarReturn(
        offset: UInt64, selector: UInt64, _ view: LinearMemory, _ snapshot: VCPUSnapshot
    ) -> Bool {
        guard snapshot.mode == .real || snapshot.mode == .virtual8086, selector != 0, offset >= 5 else {
            return false
        }
        // CALL ptr16:16 is 9A and four bytes.
        return view.word(selector << 4 &+ offset &- 5, size: 1) == 0x9A
    }
}
