import DebugTarget
import KVMCore
import Synchronization
import X86

/// Arms breakpoints, and decides at them.
extension StepEngine {
    mutating func rearm(_ set: ArmedSet, _ vcpu: any VCPUAccess) throws(KVMError) {
        try endStep()
        breakpoints.set = set
        var found: SpecialRegisters?
        if !isStepping, set.needsStepping {
            // What ran freely is stepped from where it is now on, not from its last exit.
            try vcpu.holdStill()
            let registers = try vcpu.registers()
            let special = try vcpu.specialRegisters()
            trapFlag.isSet = registers.rflags.contains(.tf)
            prepare(registers, special, pc: VCPUSnapshot.pc(registers, special), vcpu)
            isStepping = true
            found = special
        }
        try arm(found, vcpu)
        if isStepping { try beginStep(vcpu) }
    }

    /// The instruction here is stepped over, not run.
    func mustStep(_ pc: UInt64, _ special: SpecialRegisters) -> Bool {
        stepsAlways || armedSet.needsStepping || destination?.linear == pc
            || breakpoints.isBreakpoint(pc, special, memory)
    }

    /// The verdict of the breakpoints here; nil where none stops the guest.
    mutating func hit(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) -> Verdict? {
        guard armedSet.hasPlaces else { return nil }
        let numbers = breakpoints.hits(scene(registers, special, vcpu))
        guard !numbers.isEmpty else { return nil }
        outcome.hits += numbers
        return .stop(.breakpoint(numbers.sorted()))
    }

    /// A debug register matched, or a patch was executed, while it ran freely.
    mutating func decide(
        atBreakpoint registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict {
        let pc = VCPUSnapshot.pc(registers, special)
        if let verdict = hit(registers, special, vcpu) { return verdict }
        if let destination, destination.isReached(pc, registers, special) {
            guard case .walk(let walk) = plan else { return .stop(destination.reason) }
            walked.detour = nil
            if let reason = end(of: walk, pc, registers, special, vcpu) { return .stop(reason) }
        }
        if pc == 0, let verdict = try arrived(registers, special, vcpu) { return verdict }
        // A deeper call of the same code, a breakpoint that does not stop the guest or was deleted meanwhile: past
        // it by one step.
        trapFlag.isSet = registers.rflags.contains(.tf)
        try stepNext(registers, special, vcpu)
        return .resume
    }

    /// The next instruction is stepped, whatever the plan says.
    mutating func stepNext(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) {
        prepare(registers, special, pc: VCPUSnapshot.pc(registers, special), vcpu)
        isStepping = true
        try arm(special, vcpu)
    }

    // MARK: patches

    /// Whether an OUT is one of the debugger's patches.
    mutating func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        if case .writeMSR(let access) = exit { return try claims(msr: access, vcpu) }
        guard !patching.table.isEmpty.load(ordering: .acquiring), case .io(let io) = exit,
            io.direction == .out, io.size == 1, io.count == 1
        else { return false }
        let special = try vcpu.specialRegisters()
        let pc = VCPUSnapshot.pc(try vcpu.registers(), special)
        // RIP is after the OUT already, or still on it: hosts differ.
        for place in [pc &- 2, pc] {
            if let gpa = physical(place, special), patching.table.isPatch(outAt: gpa, port: io.port) {
                return true
            }
        }
        // One that the guest has copied is the debugger's, too.
        guard io.port == UInt16(PatchTable.Kind.portOut.byte) else { return false }
        return [pc &- 2, pc].contains { place in
            physical(place, special).map { patching.table.isCopy(.portOut, at: $0) } ?? false
        }
    }

    /// A patch's OUT was completed: the guest goes back to where it began.
    mutating func decide(claimed vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        var registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        if let gpa = physical(VCPUSnapshot.pc(registers, special) &- 2, special),
            patching.table.covers(gpa) || exclusive.wasPlanted(gpa) || undoesCopies(.portOut, at: gpa)
        {
            registers.rip = (registers.rip &- 2) & ipMask(special)
            try vcpu.setRegisters(registers)
            armed = nil
        }
        if let verdict = try reachedHandler(registers, special, vcpu) { return verdict }
        return try decide(atBreakpoint: registers, special, vcpu)
    }

    /// The verdict where the step at hand ended at a handler that was patched for it; nil where it did not.
    mutating func reachedHandler(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict? {
        guard isStepping, let gpa = physical(VCPUSnapshot.pc(registers, special), special),
            exclusive.wasPlanted(gpa)
        else { return nil }
        if trapFlag.isDelivering { return try trapWasDelivered(vcpu) }
        return try completed(trapFlag.shown(registers), vcpu)
    }

    /// KVM_EXIT_DEBUG for INT3: a patch, or the guest's own.
    mutating func decide(int3 vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        if let verdict = try reachedHandler(registers, special, vcpu) { return verdict }
        let pc = VCPUSnapshot.pc(registers, special)
        // Patches on the instruction at hand are lifted for its step, so that an INT3 there is the guest's. Elsewhere the patch
        // that made this exit may have been deleted since.
        let isAtHand = isStepping && pc == here.pc
        if let gpa = physical(pc, special),
            !patching.table.isOwn(int3At: gpa, isStepped: isAtHand)
                || !isAtHand && undoesCopies(.int3, at: gpa)
        {
            return try decide(atBreakpoint: registers, special, vcpu)
        }
        var wanted = armed ?? .off
        wanted.control.formUnion([.enable, .injectBP])
        armed = nil
        try vcpu.setGuestDebug(wanted)
        return .resume
    }

    /// Whether a patch that the guest copied stood at `gpa`: the guest's own bytes are there now.
    @discardableResult
    mutating func undoesCopies(_ kind: PatchTable.Kind, at gpa: UInt64) -> Bool {
        let copies = patching.table.undoCopies(kind, at: gpa)
        outcome.copies += copies
        return copies.contains(gpa)
    }

    /// Which bits of RIP count.
    private func ipMask(_ special: SpecialRegisters) -> UInt64 {
        if special.efer.contains(.lma), special.cs.attributes.isLong { return .max }
        return special.cs.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
    }

    func physical(_ linear: UInt64, _ special: SpecialRegisters) -> UInt64? {
        let view = LinearMemory(memory: memory, special: special)
        return view.physical(view.cut(linear))
    }

    // MARK: one step

    /// Before the step of the instruction at hand: the guest's own bytes are put back where patches stand in
    /// it, and no other vCPU runs until ``endStep()``.
    mutating func beginStep(_ vcpu: any VCPUAccess) throws(KVMError) {
        let context = here.context
        if !trapFlag.isDelivering { noteUnsteppable(context) }
        try exclusive.begin(here, armedSet.watches) { () throws(KVMError) in try vcpu.specialRegisters() }
    }

    /// The host may run on in code of this kind, where a step begins or leads there.
    mutating func noteUnsteppable(_ context: @autoclosure () -> CodeContext) {
        guard patching.hasUnsteppable else { return }
        let context = context()
        if patching.isUnsteppable(context) { outcome.unsteppable = context }
    }

    /// After it, however it ended.
    mutating func endStep() throws(KVMError) {
        guard exclusive.isHolding else { return }
        accesses.note(
            try exclusive.end(armedSet.watches, trappedMSRs: armedSet.events.trappedMSRs))
    }

    // MARK: guest debug

    /// Interrupts wait while the user steps, and for one step past a breakpoint; a run that is stepped all the way,
    /// because something can be found only so, is a free run to the guest.
    var letsInterruptsIn: Bool {
        if patching.takesInterrupts.load(ordering: .relaxed) { return true }
        switch plan {
        case .step: return false
        case .walk where walked.detour == nil: return false
        case .run, .until, .walk: break
        }
        return armedSet.needsStepping || stepsAlways
    }

    private var holdsOffInterrupts: Bool { !letsInterruptsIn || here.holdsOffInterrupts }

    var runPace: RunPace {
        guard isStepping else { return .free }
        var pace = RunPace(isStepping: true, holdsOffInterrupts: holdsOffInterrupts)
        pace.opcode = here.opcode
        return pace
    }

    /// Makes guest debug what the moment needs, if it is not so already.
    ///
    /// - Parameter special: as the instruction at hand begins; nil where that is known.
    mutating func arm(_ special: SpecialRegisters?, _ vcpu: any VCPUAccess) throws(KVMError) {
        if !isStepping { blackBox.markFree() }
        if let special { try prepareHandlers(special, vcpu) }
        let needs = neededDebug()
        // Where steps end within handlers anyway, a patch would cost more than it gives.
        here.unarmedHandlers = isStepping && patching.losesTF ? needs.unarmed : []
        let wanted = needs.guestDebug
        guard armed != wanted || isStepping && patching.losesTF else { return }
        armed = nil
        try vcpu.setGuestDebug(wanted)
        let wasHidden = trapFlag.isHidden
        trapFlag.isHidden = wanted.control.contains(.singleStep)
        if wasHidden, !trapFlag.isHidden { try restoreTrapFlag(vcpu) }
        armed = wanted
    }

    /// The guest debug that the moment needs.
    func neededDebug() -> GuestDebugNeeds {
        var needs = GuestDebugNeeds(isStepping: isStepping, places: armedSet.registers)
        needs.trapsINT3 = armedSet.hasINT3
        if isStepping {
            needs.steppedPlace = here.pc
            needs.holdsOffInterrupts = abilities.contains(.blockInterrupts) && holdsOffInterrupts
            // The step at hand executes no breakpoint's instruction that is not looked at before it, so that execution
            // breakpoints need not be armed: while one is, KVM moves all debug registers at each entry and exit, which
            // may cost more than half a step.
            if here.isPrivileged, needs.holdsOffInterrupts, !here.mayStartHandler {
                needs.places = armedSet.dataRegisters
            }
        }
        if let destination, !destination.bySteps { needs.places.insert(destination.linear) }
        guard isStepping else {
            // It takes what breakpoints leave.
            if guardsZero { needs.places.insert(0) }
            return needs
        }
        guard here.handler != nil || !events.handlers.isEmpty || !here.faultHandlers.isEmpty else {
            return needs
        }
        // Interrupts and exceptions leave CPL 3.
        let fires = patching.fires(in: here.context.kernel)
        if let handler = here.handler { needs.add(handler: handler, fires: fires) }
        for handler in events.handlers { needs.add(handler: handler, fires: fires) }
        for handler in here.faultHandlers { needs.add(handler: handler, fires: fires) }
        if patching.losesTF, !needs.unarmed.isEmpty, patching.patchKind(in: here.context.kernel) == .int3 {
            needs.trapsINT3 = true
        }
        return needs
    }
}
