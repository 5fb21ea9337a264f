import CLinux
import KVMCore
import X86

/// Drives one vCPU for the debugger: steps it, gets it past breakpoints, stops it at them, and takes its
/// registers with it when it stops. One driver a vCPU for the whole session, so that an order costs no setup.
///
/// Guest debug stays armed between orders and is set again only when it has to change: a KVM_SET_GUEST_DEBUG
/// before and after each step would cost more than the step.
// SAFETY: the fields are used by one thread at a time. From `Target.resume` until the report is collected that
// is the vCPU's thread (`begin`, `decide`, `end`, and `withVCPU`'s bodies, which run there); at all other times
// it is the debugger's. The target's hand-over orders the two.
final class VCPUDriver: RunController, @unchecked Sendable {
    let id: Int
    let memory: any PhysicalMemory
    let abilities: GuestDebug.Control

    /// The registers of the stop at hand are in ``snapshot`` already.
    private var isTaken = false
    /// What the next order is; set before `resume`.
    @exclusivity(unchecked) var mission = Mission.run
    @exclusivity(unchecked) var armedSet = ArmedSet.none
    let patching: Patching

    // What the debugger's thread asks for after a run stands together: each line of memory that it looks at has to
    // come from the other processor, and go back when it is written there.

    /// Breakpoints and watched accesses that this run came to, and a condition that could not be evaluated.
    @exclusivity(unchecked) var hitNumbers: [Int] = []
    @exclusivity(unchecked) var watchHits: [WatchHit] = []
    @exclusivity(unchecked) var conditionFailure: DebuggerError?
    /// The vCPU as it stood at the last stop or edit.
    @exclusivity(unchecked) var snapshot: VCPUSnapshot
    /// Instructions that the order stepped.
    var steps = 0
    /// The order's last step went over a HLT.
    private(set) var passedHalt = false
    /// A fault of `end`, which has no one else to tell.
    @exclusivity(unchecked) private(set) var failure: KVMError?
    /// It sleeps in a HLT that nothing will end: it is not let go with the others.
    private(set) var isParked = false
    /// A step of this order covered two instructions.
    var steppedTwo = false
    /// The host does not single-step the code at hand.
    var isLost = false

    /// What KVM_SET_GUEST_DEBUG last set; nil when it must be set again, because the kernel ties single-step to
    /// the RIP it was set at, and registers were written or RFLAGS loaded since.
    @exclusivity(unchecked) var armed: GuestDebug? = .off
    /// A HLT was stepped over and KVM has its exit still to deliver, after one more instruction.
    private var haltIsDue = false
    /// Whether the instruction that a free run began at is a HLT: its exit would not be the one that is due.
    var beganAtHalt = false
    var isStepping = false
    @exclusivity(unchecked) var before: GeneralRegisters
    var beforePC: UInt64 = 0
    var beforeSelector: UInt16 = 0
    /// Whether linear addresses are translated there, and whether the code there is not of CPL 3.
    var isPaging = false
    var isPrivileged = false
    /// An exception there may start with a breakpoint's instruction.
    var mayStartHandler = true
    var lookout = HandlerLookout()
    var opcode = OpcodeClass.ordinary
    var isRetried = false
    /// The guest's own TF before the instruction at hand, what the instruction loads into it, and whether KVM hides it.
    var hasTF = false
    var loadedTF = false
    var hidesTF = false
    /// The trap of that TF is on its way to the guest's handler.
    var isDelivering = false
    /// Of an order that takes long, the instructions at the last look.
    var stepsSeen = 0
    var looksInVain = 0
    /// The other vCPUs are held for a step of this one.
    var isHolding = false
    /// The next step is to be made with all pages open; they are.
    var isOpenWanted = false
    var isOpen = false
    @exclusivity(unchecked) var events = EventState()
    @exclusivity(unchecked) var blackBox = StepRing()

    init(
        snapshot: VCPUSnapshot, memory: any PhysicalMemory, abilities: GuestDebug.Control, patching: Patching
    ) {
        self.patching = patching
        self.id = snapshot.id
        self.snapshot = snapshot
        self.memory = memory
        self.abilities = abilities
        self.before = snapshot.registers
    }

    // MARK: RunController

    /// A step may end in such an exit; a free run has no use for it.
    var seesHandledExits: Bool { isStepping || armedSet.events.watchesExits }

    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        steps = 0
        passedHalt = false
        failure = nil
        isParked = false
        events.begin()
        steppedTwo = false
        isLost = false
        looksInVain = 0
        isDelivering = false
        hasTF = snapshot.registers.rflags.contains(.tf)
        prepare(snapshot.registers, snapshot.special, pc: snapshot.pc)
        if opcode == .loadsFlags { loadedTF = loadedTrapFlag(before, snapshot.special, vcpu) }
        beganAtHalt = opcode == .halt
        isStepping = mustStep(beforePC, snapshot.special)
        try arm(vcpu)
        if isStepping { try beginStep(vcpu) }
        // The other processor has read it, and the step ends in writing it: it comes back while the guest runs.
        withUnsafeBytes(of: &snapshot) { clinux_prefetch_for_write($0.baseAddress, $0.count) }
        return .resume
    }

    /// The debugger's thread is about to look at what the run left: it comes from the other processor meanwhile.
    func prefetch() {
        withUnsafeBytes(of: &snapshot) { clinux_prefetch($0.baseAddress, $0.count) }
    }

    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        try endStep(vcpu)
        if case .debug(let debug) = event, debug.matched & armedSet.registers.dataMask != 0 {
            noteDataBreakpoints(debug.matched)
        }
        var verdict = try verdict(event, vcpu)
        if let watched = try watched(vcpu) { verdict = watched }
        if !events.isQuiet, let caught = try caughtByNow(verdict, vcpu) { verdict = caught }
        if case .resume = verdict, isStepping { try beginStep(vcpu) }
        return verdict
    }

    private func verdict(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        switch event {
        case .debug(let debug) where debug.exception == 3: return try decide(int3: vcpu)
        case .debug(let debug): return try decide(debug, vcpu)
        case .claimed(.writeMSR): return try decide(claimedMSR: vcpu)
        case .claimed: return try decide(claimed: vcpu)
        case .patch:
            armed = nil
            return try decide(atBreakpoint: try vcpu.registers(), try vcpu.specialRegisters(), vcpu)
        case .handled(let exit): return isStepping ? try decide(handled: exit, vcpu) : .resume
        case .fatal(.hlt): return try decideHalt(vcpu)
        case .fatal(let exit):
            if let verdict = try retryOpen(exit, vcpu) { return verdict }
            note(fatal: exit, vcpu)
            return .stop(StopReason(fatal: exit))
        }
    }

    func end(_ vcpu: any VCPUAccess) throws(KVMError) {
        do {
            try endStep(vcpu)
            let activity = try activity(vcpu)
            if !isTaken { take(try guestRegisters(vcpu), try vcpu.specialRegisters()) }
            isTaken = false
            snapshot.activity = activity
            try countLeft(vcpu)
        } catch {
            failure = error
            throw error
        }
    }

    private func take(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        snapshot.registers = registers
        snapshot.special = special
        isTaken = true
    }

    // MARK: edits, on the vCPU's thread

    /// Registers were written.
    func edited(_ vcpu: any VCPUAccess, running: Bool) throws(KVMError) {
        armed = nil
        isParked = false
        if !hidesTF { hasTF = try vcpu.registers().rflags.contains(.tf) }
        let registers = try guestRegisters(vcpu)
        let special = try vcpu.specialRegisters()
        snapshot.registers = registers
        snapshot.special = special
        // Set to what they are, too, registers say that it is to go on from there.
        if snapshot.activity == .dead { try vcpu.setRegisters(try vcpu.registers()) }
        if snapshot.activity == .halted || snapshot.activity == .dead { snapshot.activity = .stopped }
        guard running else { return }
        try endStep(vcpu)
        prepare(registers, special, pc: snapshot.pc)
        if opcode == .loadsFlags { loadedTF = loadedTrapFlag(registers, special, vcpu) }
        try arm(vcpu)
        if isStepping { try beginStep(vcpu) }
    }

    // MARK: decisions

    private func decide(_ debug: DebugExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = try guestRegisters(vcpu)
        guard isStepping else {
            if debug.isSingleStep, debug.matched == 0, registers.rflags.contains(.tf) {
                return try passTrapOn(vcpu)
            }
            let special = try vcpu.specialRegisters()
            return try decide(atBreakpoint: registers, special, vcpu)
        }
        if isDelivering { return try trapWasDelivered(vcpu) }
        // Hosts that step with TF trap after each iteration.
        if opcode == .repeatsString, registers.rip == before.rip { return .resume }
        // An iteration of REP that has not begun, or the trap of an instruction that ended in a handled exit:
        // nothing has been executed. An instruction that really changes nothing, as `jmp $`, may be executed
        // twice.
        if !isRetried, registers == before, debug.pc == beforePC {
            isRetried = true
            return .resume
        }
        return try completed(registers, vcpu)
    }

    /// An exit that the target handled while stepping.
    private func decide(handled exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = try guestRegisters(vcpu)
        // REP INS and OUTS come several times.
        if registers.rip == before.rip { return .resume }
        // I/O does not branch: if it came from elsewhere, the guest has run on its own.
        if case .io = exit, registers.rip &- before.rip > 15, !wraps(registers) {
            return .stop(.stepLost(exit))
        }
        return try completed(registers, vcpu)
    }

    private func decideHalt(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = try guestRegisters(vcpu)
        if isStepping {
            let hasMoved = registers != before
            if opcode == .halt, hasMoved { return try completed(registers, vcpu, haltDelivered: true) }
            let isDue = haltIsDue
            haltIsDue = false
            guard hasMoved else { return isDue ? .resume : .stop(.hlt) }
            // Right behind another HLT and none due: the guest ran on its own up to here.
            let isBehindHalt = try followsHalt(vcpu)
            return isBehindHalt && !isDue ? .stop(.stepLost(.hlt)) : try completed(registers, vcpu)
        }
        if haltIsDue {
            haltIsDue = false
            if !beganAtHalt { return .resume }
        }
        noteHalt()
        return halted()
    }

    /// A HLT that nothing here will end.
    private func halted() -> Verdict {
        isParked = true
        if case .run = mission { return .park }
        return .stop(.hlt)
    }

    /// One instruction was executed while stepping.
    private func completed(
        _ registers: GeneralRegisters, _ vcpu: any VCPUAccess, haltDelivered: Bool = false
    ) throws(KVMError) -> Verdict {
        let special = try vcpu.specialRegisters()
        steps += 1
        passedHalt = opcode == .halt
        var sleepsInKernel = false
        if passedHalt {
            // With the irqchip in the kernel the vCPU sleeps there and no exit is due.
            sleepsInKernel = try mpState(vcpu) == .halted
            haltIsDue = !haltDelivered && !sleepsInKernel
        }
        let pc = VCPUSnapshot.pc(registers, special)
        noteStep(registers, special, pc)
        if pc &- beforePC > 15, registers.rsp != before.rsp, mendException(registers, special) {
            var inside = registers
            inside.rflags.remove(.tf)
            return try concluded(inside, special, vcpu, sleepsInKernel: sleepsInKernel)
        }
        guard opcode != .ordinary || hasTF else { return try concluded(registers, special, vcpu) }
        switch opcode {
        case .loadsFlags, .softwareInterrupt: armed = nil
        case .ordinary, .halt, .pushesFlags, .loadsStackSegment, .repeatsString: break
        }
        var settled = registers
        if let verdict = try settleTrapFlag(&settled, special, pc, vcpu) { return verdict }
        return try concluded(settled, special, vcpu, sleepsInKernel: sleepsInKernel)
    }

    /// The instruction is over, with all that belongs to it: what comes next.
    func concluded(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess,
        sleepsInKernel: Bool = false
    ) throws(KVMError) -> Verdict {
        let pc = VCPUSnapshot.pc(registers, special)
        compareWatches()
        if let verdict = hit(pc, registers, special, vcpu) { return verdict }
        switch mission {
        case .step(let count):
            if steps >= count {
                take(registers, special)
                return .stop(.step(count: count))
            }
            // It would be asleep now: going on by itself would be a lie.
            if passedHalt {
                isParked = !sleepsInKernel
                return .stop(.hlt)
            }
        case .until(let destination):
            if hasArrived(destination, pc, registers, special) { return .stop(destination.reason) }
            if passedHalt, !sleepsInKernel { return halted() }
        case .run:
            if passedHalt, !sleepsInKernel { return halted() }
        case .walk(let walk):
            if let detour = walk.detour, !hasArrived(detour, pc, registers, special) {
                if passedHalt, !sleepsInKernel { return halted() }
                break
            }
            walk.detour = nil
            if let reason = end(of: walk, pc, registers, special, vcpu) { return .stop(reason) }
            if passedHalt {
                isParked = !sleepsInKernel
                return .stop(.hlt)
            }
        }
        prepare(registers, special, pc: pc)
        if opcode == .loadsFlags { loadedTF = loadedTrapFlag(registers, special, vcpu) }
        isStepping = mustStep(pc, special)
        beganAtHalt = opcode == .halt
        try arm(vcpu)
        return .resume
    }

    func hasArrived(
        _ destination: Destination, _ pc: UInt64, _ registers: GeneralRegisters, _ special: SpecialRegisters
    ) -> Bool {
        guard pc == destination.linear else { return false }
        return !(destination.frame?.isDeeper(pointer: registers.rsp, base: special.ss.base) ?? false)
    }

    var destination: Destination? {
        switch mission {
        case .until(let destination): destination
        case .walk(let walk): walk.detour
        case .step, .run: nil
        }
    }

    var stepsAlways: Bool {
        switch mission {
        case .step: true
        case .run: false
        case .until(let destination): destination.bySteps
        case .walk(let walk): walk.detour?.bySteps ?? true
        }
    }

    /// IP went over the end of a 16- or 32-bit segment.
    private func wraps(_ registers: GeneralRegisters) -> Bool {
        (registers.rip &- before.rip) & 0xFFFF <= 15 || (registers.rip &- before.rip) & 0xFFFF_FFFF <= 15
    }

    private func followsHalt(_ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
        let pc = VCPUSnapshot.pc(registers, special)
        return LinearMemory(memory: memory, special: special).prefix(pc &- 1).bytes & 0xFF == 0xF4
    }

    // MARK: the vCPU

    /// Notes where the next instruction stands.
    func prepare(_ registers: GeneralRegisters, _ special: SpecialRegisters, pc: UInt64) {
        before = registers
        beforePC = pc
        beforeSelector = special.cs.selector
        isPaging = special.cr0.contains(.pg)
        mayStartHandler =
            !patching.endsStepsInHandlers
            || armedSet.hasExecutionRegisters && lookout.leads(to: armedSet, special, memory)
        isPrivileged = special.ss.attributes.privilege != 3 && !registers.rflags.contains(.vm)
        isRetried = false
        let first = Self.prefix(memory, special, pc)
        opcode = OpcodeClass(
            bytes: first.bytes, count: first.count,
            isLong: special.efer.contains(.lma) && special.cs.attributes.isLong)
        handler = handlerEntry(special)
        note(before: special, prefix: first.bytes, count: first.count)
        if case .walk(let walk) = mission, walk.detour == nil { plan(walk, registers, special) }
    }

    /// The instruction's first bytes. Without paging, and within a page, there is nothing to translate.
    static func prefix(
        _ memory: any PhysicalMemory, _ special: SpecialRegisters, _ pc: UInt64
    ) -> (bytes: UInt64, count: Int) {
        if !special.cr0.contains(.pg), pc & 0xFFF <= 0xFF8, let word = memory.word(pc, size: 8) {
            return (word, 8)
        }
        return LinearMemory(memory: memory, special: special).prefix(pc)
    }

    /// Where the software interrupt at hand goes to, while it is stepped.
    var handler: UInt64?

    private func handlerEntry(_ special: SpecialRegisters) -> UInt64? {
        guard case .softwareInterrupt(let vector) = opcode else { return nil }
        return InterruptEntry.linear(vector, LinearMemory(memory: memory, special: special))
    }

    private func activity(_ vcpu: any VCPUAccess) throws(KVMError) -> VCPUSnapshot.Activity {
        if isParked || passedHalt { return .halted }
        if case .step = mission { return .stopped }
        return VCPUSnapshot.Activity(try mpState(vcpu))
    }

    private func mpState(_ vcpu: any VCPUAccess) throws(KVMError) -> MPState {
        try vcpu.mpState()
    }
}

extension VCPUSnapshot.Activity {
    /// What a vCPU that stands still is doing.
    init(_ state: MPState) {
        switch state {
        case .runnable, .other: self = .stopped
        case .halted: self = .halted
        case .uninitialized, .initReceived, .sipiReceived: self = .waiting
        }
    }
}

extension StopReason {
    init(fatal exit: VCPUExit) {
        switch exit {
        case .hlt: self = .hlt
        case .shutdown: self = .tripleFault
        case .internalError(let error): self = .internalError(error)
        case .failEntry(let reason, let cpu): self = .failEntry(hardwareReason: reason, cpu: cpu)
        case .systemEvent(let type, _) where type == 1: self = .poweredOff
        default: self = .exit(exit)
        }
    }

    /// The vCPU cannot go on without an edit.
    var isDeadly: Bool {
        switch self {
        case .tripleFault, .internalError, .failEntry: true
        default: false
        }
    }
}
