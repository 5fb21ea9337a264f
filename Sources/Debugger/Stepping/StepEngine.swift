import DebugTarget
import Disassembler
import KVMCore
import X86

/// Drives one vCPU: steps it, gets it past breakpoints, stops it at them, and takes its registers with it when it stops.
/// One a vCPU for the whole session, so that an order costs no setup.
///
/// Guest debug stays armed between orders and is set again only when it has to change: a KVM_SET_GUEST_DEBUG
/// before and after each step would cost more than the step.
struct StepEngine: Sendable {
    let id: Int
    let patching: Patching
    let abilities: GuestDebug.Control

    /// What the vCPU goes on for, and how far a walk of it has come.
    var plan = ThreadPlan.run
    var walked = WalkProgress()
    var isStepping = false
    /// Where it stands.
    var here: InstructionAtHand
    /// What KVM_SET_GUEST_DEBUG last set; nil when it must be set again, because the kernel ties single-step to
    /// the RIP it was set at, and registers were written or RFLAGS loaded since.
    var armed: GuestDebug? = .off

    var trapFlag = TrapFlagTracker()
    var halt = HaltTracker()
    var pace = StepPace()
    var exclusive: ExclusiveStep
    /// A debug register stands at linear address 0 while the guest runs freely.
    var guardsZero = false
    var breakpoints = BreakpointMatcher()
    var handlerCheck = HandlerBreakpointCheck()
    var accesses = AccessWatcher()
    var events = EventWatcher()
    var blackBox = StepRing()
    /// Of the run at hand, or of the one before.
    var outcome: RunOutcome
    /// The registers of the stop at hand are in ``outcome`` already.
    private var isTaken = false

    init(snapshot: VCPUSnapshot, abilities: GuestDebug.Control, patching: Patching) {
        id = snapshot.id
        self.patching = patching
        self.abilities = abilities
        here = InstructionAtHand(registers: snapshot.registers)
        exclusive = ExclusiveStep(vcpu: snapshot.id, patching: patching)
        outcome = RunOutcome(snapshot: snapshot)
    }

    var memory: any PhysicalMemory { patching.memory }
    var armedSet: ArmedSet { breakpoints.set }

    // MARK: a run

    /// A step may end in such an exit; a free run has no use for it.
    var seesHandledExits: Bool { isStepping || armedSet.events.watchesExits }

    mutating func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let snapshot = outcome.snapshot
        outcome = RunOutcome(snapshot: snapshot)
        halt.begin()
        pace.begin()
        events.begin()
        accesses.begin()
        breakpoints.begin()
        trapFlag.begin(snapshot.registers)
        prepare(snapshot.registers, snapshot.special, pc: snapshot.pc, vcpu)
        isStepping = mustStep(here.pc, snapshot.special)
        prepareGuard(snapshot.registers, snapshot.special, here.pc)
        if let verdict = emptyVectorAtHand(snapshot.registers, snapshot.special) { return verdict }
        try arm(snapshot.special, vcpu)
        return try proceed(vcpu)
    }

    mutating func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try endStep()
        // It has run since.
        halt.isParked = false
        if case .debug(let debug) = event, debug.matched & armedSet.registers.dataMask != 0 {
            let made = try lastAccesses(vcpu)
            accesses.dataBreakpointsFired(debug.matched, of: armedSet, memory, made)
        }
        var verdict = try verdict(event, vcpu)
        if let watched = try watched(vcpu) { verdict = watched }
        if !events.isQuiet, let caught = try caughtByNow(verdict, vcpu) { verdict = caught }
        if case .resume = verdict { return try proceed(vcpu) }
        return verdict
    }

    /// The vCPU goes on with the instruction at hand.
    mutating func proceed(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        while isStepping, patching.losesTF, !trapFlag.isDelivering {
            guard let verdict = try completeHere(vcpu) else { break }
            guard case .resume = verdict else { return verdict }
        }
        if isStepping { try beginStep(vcpu) }
        return .resume
    }

    /// MOV SS, POP SS and STI are done here, because a host that steps with TF would step two instructions; nil where
    /// it is none of them, or raises an exception.
    private mutating func completeHere(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        guard [.loadsStackSegment, .allowsInterrupts].contains(here.opcode) else { return nil }
        let special = try vcpu.specialRegisters()
        guard let instruction = decode(here.registers, special) else { return nil }
        let done: GeneralRegisters
        let shadow: UInt8
        if here.opcode == .allowsInterrupts {
            guard let allowed = InterruptPermit(instruction, here.registers, special) else { return nil }
            done = allowed.registers
            shadow = InterruptPermit.shadow
        } else {
            let view = LinearMemory(memory: memory, special: special)
            guard let load = StackSegmentLoad(instruction, here.registers, view) else { return nil }
            try vcpu.setSpecialRegisters(load.file.special)
            done = load.file.general
            shadow = StackSegmentLoad.shadow
        }
        var registers = done
        if trapFlag.isHidden { registers.rflags.remove(.tf) }
        try vcpu.setRegisters(registers)
        var events = try vcpu.events()
        events.interruptShadow = shadow
        try vcpu.setEvents(events)
        armed = nil
        return try completed(done, vcpu)
    }

    private mutating func verdict(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        switch event {
        case .debug(let debug) where debug.exception == 3: return try decide(int3: vcpu)
        case .debug(let debug): return try decide(debug, vcpu)
        case .claimed(.writeMSR): return try decide(claimedMSR: vcpu)
        case .claimed: return try decide(claimed: vcpu)
        case .patch:
            armed = nil
            let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
            if let verdict = try reachedHandler(registers, special, vcpu) { return verdict }
            // Who runs the guest has put it back to where the OUT stands, which may be a copy.
            if let gpa = physical(VCPUSnapshot.pc(registers, special), special) {
                undoesCopies(.portOut, at: gpa)
            }
            return try decide(atBreakpoint: registers, special, vcpu)
        case .handled(let exit): return isStepping ? try decide(handled: exit, vcpu) : .resume
        case .serviced:
            return isStepping ? try completed(trapFlag.shown(try vcpu.registers()), vcpu) : .resume
        case .fatal(.hlt): return try decideHalt(vcpu)
        case .fatal(let exit):
            if let verdict = try retryOpen(exit, vcpu) { return verdict }
            note(fatal: exit, vcpu)
            return .stop(StopReason(fatal: exit))
        }
    }

    mutating func end(_ vcpu: any VCPUAccess) throws(KVMError) {
        do {
            try endStep()
            let activity = try activity(vcpu)
            if !isTaken { take(trapFlag.shown(try vcpu.registers()), try vcpu.specialRegisters()) }
            isTaken = false
            outcome.snapshot.activity = activity
            try countLeft(vcpu)
        } catch {
            outcome.failure = error
            throw error
        }
    }

    /// What is handed over once ``end(_:)`` was called.
    var finished: RunOutcome {
        var outcome = outcome
        outcome.passedHalt = halt.wasPassed
        outcome.isParked = halt.isParked
        outcome.isLost = pace.isLost
        outcome.conditionFailure = breakpoints.conditionFailure
        outcome.hits += outcome.caught.map(\.number)
        outcome.holdsOffInterrupts = armed?.control.contains(.blockInterrupts) ?? false
        outcome.keepsTrapFlag = trapFlag.isHidden && trapFlag.isSet
        return outcome
    }

    private mutating func take(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        outcome.snapshot.registers = registers
        outcome.snapshot.special = special
        isTaken = true
    }

    private func activity(_ vcpu: any VCPUAccess) throws(KVMError) -> VCPUSnapshot.Activity {
        if halt.isParked || halt.wasPassed { return .halted }
        if case .step = plan { return .stopped }
        return VCPUSnapshot.Activity(try vcpu.mpState())
    }

    // MARK: edits

    /// Registers were written.
    ///
    /// - Parameter activity: what the vCPU was doing, as the debugger has it.
    mutating func edited(
        _ vcpu: any VCPUAccess, activity: VCPUSnapshot.Activity, running: Bool
    ) throws(KVMError) -> VCPUSnapshot {
        armed = nil
        halt.isParked = false
        // What is edited is not the last instruction's doing.
        if running { blackBox.markFree() } else { blackBox.close(outcome.snapshot.registers) }
        if !trapFlag.isHidden { trapFlag.isSet = try vcpu.registers().rflags.contains(.tf) }
        let registers = trapFlag.shown(try vcpu.registers())
        let special = try vcpu.specialRegisters()
        // Set to what they are, too, registers say that it is to go on from there.
        if activity == .dead { try vcpu.setRegisters(try vcpu.registers()) }
        let isAwake = activity == .halted || activity == .dead
        outcome.snapshot = VCPUSnapshot(
            id: id, registers: registers, special: special, activity: isAwake ? .stopped : activity)
        guard running else { return outcome.snapshot }
        try endStep()
        prepare(registers, special, pc: outcome.snapshot.pc, vcpu)
        try arm(special, vcpu)
        if isStepping { try beginStep(vcpu) }
        return outcome.snapshot
    }

    /// On the vCPU's thread, between two KVM_RUNs of a step that takes long.
    mutating func look(_ vcpu: any VCPUAccess, _ counter: UInt64?) throws(KVMError) -> StepPace.LongStep {
        guard isStepping, !trapFlag.isDelivering, try vcpu.mpState() == .runnable else { return .goesOn(nil) }
        return pace.look(
            steps: outcome.steps, try vcpu.registers(), before: here.registers, counter: counter)
    }

    // MARK: decisions

    private mutating func decide(_ debug: DebugExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = trapFlag.shown(try vcpu.registers())
        guard isStepping else {
            // A trap of the instruction before comes first, also where a breakpoint here is reported with it (SDM volume
            // 3A, table 6-2).
            if debug.isSingleStep, registers.rflags.contains(.tf) {
                return try passTrapOn(vcpu)
            }
            return try decide(atBreakpoint: registers, try vcpu.specialRegisters(), vcpu)
        }
        if trapFlag.isDelivering { return try trapWasDelivered(vcpu) }
        // Hosts that step with TF trap after each iteration.
        if registers.rip == here.registers.rip, here.opcode == .repeatsString { return .resume }
        // An iteration of REP that has not begun, the trap of an instruction that ended in a handled exit, or one right
        // after the processor was left within it: nothing has been executed. An instruction that really changes nothing,
        // as `jmp $`, may be executed twice.
        if registers == here.registers, debug.pc == here.pc {
            // From an instruction that leads on: the host's KVM does not execute it, if that does not change.
            if here.isRetried, staysInPlace(try vcpu.specialRegisters()) {
                return try completed(registers, vcpu)
            }
            if here.retries < (debug.matched == 0 ? InstructionAtHand.mostRetries : 1) {
                here.retries += 1
                exclusive.again()
                return .resume
            }
            if debug.matched == 0 { return .stop(.noProgress(.debug(debug))) }
        }
        return try completed(registers, vcpu)
    }

    /// An exit that the target handled while stepping.
    private mutating func decide(handled exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = trapFlag.shown(try vcpu.registers())
        // REP INS and OUTS come several times.
        if registers.rip == here.registers.rip { return .resume }
        // I/O does not branch: if it came from elsewhere, the guest has run on its own.
        if case .io = exit, !here.leadsOn(to: registers.rip) { return .stop(.stepLost(exit)) }
        return try completed(registers, vcpu)
    }

    /// One instruction was executed while stepping.
    mutating func completed(
        _ registers: GeneralRegisters, _ vcpu: any VCPUAccess, haltDelivered: Bool = false
    ) throws(KVMError) -> Verdict {
        let special = try vcpu.specialRegisters()
        outcome.steps += 1
        let isHalt = here.opcode.isHalt
        let sleepsInKernel = isHalt ? try vcpu.mpState() == .halted : false
        halt.stepped(isHalt: isHalt, isDelivered: haltDelivered, sleepsInKernel: sleepsInKernel)
        let pc = VCPUSnapshot.pc(registers, special)
        noteStep(registers, special, pc)
        noteUnsteppable(CodeContext(registers, special))
        let isElsewhere = pc &- here.pc > 15 || here.faultHandlers.contains(pc)
        if isElsewhere, registers.rsp != here.registers.rsp, mendException(registers, special) {
            var inside = registers
            inside.rflags.remove(.tf)
            return try concluded(inside, special, vcpu, sleepsInKernel: sleepsInKernel)
        }
        guard !here.opcode.isOrdinary || trapFlag.isSet else {
            return try concluded(registers, special, vcpu)
        }
        switch here.opcode {
        case .loadsFlags, .softwareInterrupt: armed = nil
        case .ordinary, .halt, .pushesFlags, .loadsStackSegment, .allowsInterrupts, .repeatsString: break
        }
        if try settleTrapFlag(registers, special, pc, vcpu) { return .resume }
        return try concluded(
            trapFlag.settled(registers), special, vcpu, sleepsInKernel: sleepsInKernel)
    }

    /// The instruction is over, with all that belongs to it: what comes next.
    mutating func concluded(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess,
        sleepsInKernel: Bool = false
    ) throws(KVMError) -> Verdict {
        let pc = VCPUSnapshot.pc(registers, special)
        if armedSet.watches.contains(where: { $0.mechanism == .stepping }) {
            let made = steppedAccesses(registers, special)
            accesses.compare(armedSet.watches, memory, made)
        }
        if let verdict = hit(registers, special, vcpu) { return verdict }
        if pc == 0, let verdict = try arrived(registers, special, vcpu) { return verdict }
        if let verdict = planned(pc, registers, special, vcpu, sleepsInKernel: sleepsInKernel) {
            return verdict
        }
        prepare(registers, special, pc: pc, vcpu)
        if let verdict = emptyVectorAtHand(registers, special) { return verdict }
        isStepping = mustStep(pc, special)
        try arm(special, vcpu)
        return .resume
    }

    /// What the plan says of the end of an instruction; nil where the vCPU goes on.
    private mutating func planned(
        _ pc: UInt64, _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess,
        sleepsInKernel: Bool
    ) -> Verdict? {
        let sleeps = halt.wasPassed && !sleepsInKernel
        switch plan {
        case .step(let count):
            if outcome.steps >= count {
                take(registers, special)
                return .stop(.step(count: count))
            }
            // It would be asleep now: going on by itself would be a lie.
            if halt.wasPassed {
                halt.isParked = !sleepsInKernel
                return .stop(.hlt)
            }
        case .until(let destination):
            // Run freely, it would have halted before it came to the place after the HLT.
            if sleeps, !patching.forwardsExits { return halted() }
            if destination.isReached(pc, registers, special) { return .stop(destination.reason) }
            if sleeps { return halted() }
        case .run:
            if sleeps { return halted() }
        case .walk(let walk):
            if let detour = walked.detour {
                let isReached = detour.isReached(pc, registers, special)
                if sleeps, !isReached || !patching.forwardsExits { return halted() }
                if !isReached { return nil }
            }
            walked.detour = nil
            if let reason = end(of: walk, pc, registers, special, vcpu) { return .stop(reason) }
            if halt.wasPassed {
                halt.isParked = !sleepsInKernel
                return .stop(.hlt)
            }
        }
        return nil
    }

    var destination: Destination? {
        switch plan {
        case .until(let destination): destination
        case .walk: walked.detour
        case .step, .run: nil
        }
    }

    var stepsAlways: Bool {
        switch plan {
        case .step: true
        case .run: false
        case .until(let destination): destination.bySteps
        case .walk: walked.detour?.bySteps ?? true
        }
    }

    /// The instruction at hand may well leave all as it was: a jump to itself. So may one that cannot be decoded.
    private func staysInPlace(_ special: SpecialRegisters) -> Bool {
        guard let instruction = decode(here.registers, special) else { return true }
        // CALL, RET, LOOP and REP change a register, wherever they lead.
        guard !instruction.traits.isDisjoint(with: [.jump, .conditional]) else { return false }
        return switch instruction.target {
        case .near(let offset): offset == here.registers.rip
        case .far(let place): place.offset == here.registers.rip
        case nil: true
        }
    }

    // MARK: the instruction at hand

    /// Notes where the next instruction stands.
    mutating func prepare(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, pc: UInt64, _ vcpu: any VCPUAccess
    ) {
        let patching = patching
        let first = LinearMemory.prefix(patching.inSight, special, pc)
        here.move(
            registers, special, pc: pc, prefix: first.bytes, count: first.count, memory: patching.memory)
        here.faults = OpcodeFaults(
            bytes: first.bytes, count: first.count, isLong: special.codeWidth == 64)
        halt.beganAtHalt = here.opcode.isHalt
        if case .loadsFlags = here.opcode {
            trapFlag.loaded = trapFlag.value(
                after: decode(registers, special), registers, LinearMemory(memory: memory, special: special)
            ) { try? vcpu.msr(0xC000_0084) }
        }
        note(before: special, prefix: first.bytes, count: first.count)
        if case .walk(let walk) = plan, walked.detour == nil { plan(walk, registers, special) }
    }

    /// Before ``arm(_:_:)``, where the instruction at hand is stepped: what its exceptions lead to. A guest that is only
    /// looked at need not know how the host steps, which takes some milliseconds to find.
    mutating func prepareHandlers(_ special: SpecialRegisters, _ vcpu: any VCPUAccess) throws(KVMError) {
        here.holdsOffInterrupts = false
        guard isStepping else {
            here.faultHandlers = []
            return
        }
        here.mayStartHandler =
            !patching.endsStepsInHandlers
            || armedSet.hasExecutionRegisters && handlerCheck.leads(to: armedSet, special, memory)
        here.faultHandlers = faultHandlers(here.faults, special, before: here.faultHandlers)
        if patching.losesTF, letsInterruptsIn { try prepareInterrupt(special, vcpu) }
    }

    /// The handlers of the exceptions that the instruction at hand may raise. Hosts that step with TF would run through
    /// them, others execute the first instruction of one.
    private func faultHandlers(
        _ faults: OpcodeFaults, _ special: SpecialRegisters, before: [UInt64]
    ) -> [UInt64] {
        var faults = faults
        // In real mode an access raises an exception only at a segment's end, and each change of the debug registers
        // costs as much as a step: hosts that lose but one instruction there are spared it.
        if !patching.losesTF, !special.cr0.contains(.pe) {
            faults.formIntersection([.divides, .bounds, .undefined])
        }
        guard !faults.isEmpty || special.cr0.contains(.pg) else { return [] }
        let view = LinearMemory(memory: memory, special: special)
        let handlers = faults.handlers(here.registers, view, at: here.pc)
        // Nothing changes where the step before had them all.
        if !patching.losesTF, !before.contains(here.pc), handlers.allSatisfy(before.contains) {
            return before
        }
        return handlers
    }

    func decode(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> Instruction? {
        let snapshot = VCPUSnapshot(id: id, registers: registers, special: special, activity: .stopped)
        return Debugger.decodeNext(snapshot, LinearMemory(memory: memory, special: special))
    }

    func scene(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) -> BreakpointMatcher.Scene {
        BreakpointMatcher.Scene(registers: registers, special: special, memory: memory) {
            try? vcpu.debugRegisters()
        }
    }
}
