import KVMCore
import Synchronization
import X86

/// What a vCPU's driver does about breakpoints: arms them, and decides at them.
extension VCPUDriver {
    /// The breakpoints changed while it runs.
    func rearm(_ set: ArmedSet, _ vcpu: any VCPUAccess) throws(KVMError) {
        try endStep(vcpu)
        armedSet = set
        try arm(vcpu)
        if isStepping { try beginStep(vcpu) }
    }

    /// A breakpoint is here, whether it would stop the guest or not.
    func isBreakpoint(_ pc: UInt64, _ special: SpecialRegisters) -> Bool {
        if armedSet.linear[pc] != nil { return true }
        guard !armedSet.physical.isEmpty, let gpa = physical(pc, special) else { return false }
        return armedSet.physical[gpa] != nil
    }

    /// The instruction here is stepped over, not run.
    func mustStep(_ pc: UInt64, _ special: SpecialRegisters) -> Bool {
        stepsAlways || armedSet.needsStepping || destination?.linear == pc || isBreakpoint(pc, special)
    }

    /// The verdict of the breakpoints here; nil where none stops the guest: there is none, its condition is
    /// false, or it is ignored.
    func hit(
        _ pc: UInt64, _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) -> Verdict? {
        var states = armedSet.linear[pc]
        if !armedSet.physical.isEmpty, let gpa = physical(pc, special), let more = armedSet.physical[gpa] {
            states = (states ?? []) + more
        }
        guard let states else { return nil }
        for state in states {
            if let far = state.far, far.selector != special.cs.selector || far.offset != registers.rip {
                continue
            }
            guard isTrue(state.condition, registers, special, vcpu), state.count() else { continue }
            hitNumbers.append(state.number)
        }
        return hitNumbers.isEmpty ? nil : .stop(.breakpoint([]))
    }

    /// A condition that cannot be evaluated stops the guest, and says why.
    func isTrue(
        _ condition: Expression?, _ registers: GeneralRegisters, _ special: SpecialRegisters,
        _ vcpu: any VCPUAccess
    ) -> Bool {
        guard let condition else { return true }
        do {
            let debug = condition.needsDebugRegisters ? try? vcpu.debugRegisters() : nil
            return !(try condition.evaluate(registers, special, debug: debug, memory: memory).isZero)
        } catch {
            conditionFailure = error
            return true
        }
    }

    /// A debug register matched, or a patch was executed, while it ran freely.
    func decide(
        atBreakpoint registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict {
        let pc = VCPUSnapshot.pc(registers, special)
        if let verdict = hit(pc, registers, special, vcpu) { return verdict }
        if let destination, hasArrived(destination, pc, registers, special) {
            guard case .walk(let walk) = mission else { return .stop(destination.reason) }
            walk.detour = nil
            if let reason = end(of: walk, pc, registers, special, vcpu) { return .stop(reason) }
        }
        // A deeper call of the same code, a breakpoint that does not stop the guest or was deleted meanwhile: past
        // it by one step.
        hasTF = registers.rflags.contains(.tf)
        prepare(registers, special, pc: pc)
        if opcode == .loadsFlags { loadedTF = loadedTrapFlag(registers, special, vcpu) }
        isStepping = true
        try arm(vcpu)
        return .resume
    }

    /// It came to something since ``takeHits()`` was last asked. Reads alone, because the other thread writes there.
    var hasHits: Bool { !hitNumbers.isEmpty || !watchHits.isEmpty || conditionFailure != nil }

    /// What it came to since this was last asked.
    func takeHits() -> (breakpoints: [Int], watches: [WatchHit], failure: DebuggerError?) {
        defer {
            hitNumbers.removeAll()
            watchHits.removeAll()
            conditionFailure = nil
        }
        return (hitNumbers, watchHits, conditionFailure)
    }

    // MARK: patches

    /// Whether an OUT is one of the debugger's patches.
    func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        if case .writeMSR(let access) = exit { return try claims(msr: access, vcpu) }
        guard !patching.table.isEmpty.load(ordering: .acquiring), case .io(let io) = exit,
            io.direction == .out, io.size == 1, io.count == 1
        else { return false }
        let special = try vcpu.specialRegisters()
        let pc = VCPUSnapshot.pc(try vcpu.registers(), special)
        // RIP stands behind the OUT already, or still on it: hosts differ.
        for place in [pc &- 2, pc] {
            if let gpa = physical(place, special), patching.table.isPatch(outAt: gpa, port: io.port) {
                return true
            }
        }
        return false
    }

    /// A patch's OUT was completed: the guest goes back to where it began.
    func decide(claimed vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        var registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        if let gpa = physical(VCPUSnapshot.pc(registers, special) &- 2, special),
            patching.table.covers(gpa)
        {
            registers.rip = (registers.rip &- 2) & ipMask(special)
            try vcpu.setRegisters(registers)
            armed = nil
        }
        return try decide(atBreakpoint: registers, special, vcpu)
    }

    /// KVM_EXIT_DEBUG for INT3: a patch, or the guest's own.
    func decide(int3 vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        let registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        if let gpa = physical(VCPUSnapshot.pc(registers, special), special), patching.table.covers(gpa) {
            return try decide(atBreakpoint: registers, special, vcpu)
        }
        var wanted = armed ?? .off
        wanted.control.formUnion([.enable, .injectBP])
        armed = nil
        try vcpu.setGuestDebug(wanted)
        return .resume
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

    /// Before the step of the instruction at ``beforePC``: the guest's own bytes are put back where patches stand in
    /// it, and no other vCPU runs until ``endStep(_:)``.
    func beginStep(_ vcpu: any VCPUAccess) throws(KVMError) {
        try beginUnfiltered()
        if isOpenWanted { return try openProtection() }
        guard !patching.table.isEmpty.load(ordering: .acquiring) else { return }
        // Without paging, and within a page, there is nothing to translate.
        if !isPaging, beforePC & 0xFFF <= 0xFF1 {
            let all = beforePC..<beforePC + 15
            guard patching.table.covers(all) else { return }
            hold()
            _ = patching.table.lift(all)
            return
        }
        let special = try vcpu.specialRegisters()
        let view = LinearMemory(memory: memory, special: special)
        guard let first = view.physical(beforePC) else { return }
        let head = first..<first + min(15, 4096 - (first & 0xFFF))
        var tail = 0..<UInt64(0)
        if head.count < 15, let second = view.physical(view.cut(beforePC &+ UInt64(head.count))) {
            tail = second..<second + UInt64(15 - head.count)
        }
        guard patching.table.covers(head) || !tail.isEmpty && patching.table.covers(tail) else { return }
        hold()
        _ = patching.table.lift(head)
        if !tail.isEmpty { _ = patching.table.lift(tail) }
    }

    /// After it, however it ended.
    func endStep(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard isHolding else { return }
        patching.table.restore()
        if isOpen { try closeProtection() }
        try endUnfiltered()
        isHolding = false
        patching.holder?.releaseVCPUs(except: id)
    }

    func hold() {
        guard !isHolding else { return }
        patching.holder?.holdVCPUs(except: id)
        isHolding = true
    }

    // MARK: guest debug

    /// Interrupts wait while the user steps, and for one step past a breakpoint; a run that is stepped all the way,
    /// because something can be found only so, is a free run to the guest.
    private var holdsOffInterrupts: Bool {
        if patching.takesInterrupts.load(ordering: .relaxed) { return false }
        switch mission {
        case .step: return true
        case .walk(let walk) where walk.detour == nil: return true
        case .run, .until, .walk: break
        }
        return !armedSet.needsStepping && !stepsAlways
    }

    /// Makes guest debug what the moment needs, if it is not so already.
    func arm(_ vcpu: any VCPUAccess) throws(KVMError) {
        let wanted = guestDebug()
        guard armed != wanted || isStepping && patching.losesTF else { return }
        armed = nil
        try vcpu.setGuestDebug(wanted)
        let hidden = hidesTF
        hidesTF = wanted.control.contains(.singleStep)
        if hidden, !hidesTF { try restoreTrapFlag(vcpu) }
        armed = wanted
    }

    /// The step at hand executes no breakpoint's instruction that is not looked at before it, so that execution
    /// breakpoints need not be armed: while one is, KVM moves all debug registers at each entry and exit, which may cost
    /// more than half a step.
    private func seesBreakpoints(_ step: GuestDebug) -> Bool {
        isPrivileged && step.control.contains(.blockInterrupts) && !mayStartHandler
    }

    /// The guest debug that the moment needs.
    func guestDebug() -> GuestDebug {
        var wanted = GuestDebug.off
        var places: ArmedBreakpoints
        if isStepping {
            wanted.control = [.enable, .singleStep]
            if abilities.contains(.blockInterrupts), holdsOffInterrupts {
                wanted.control.insert(.blockInterrupts)
            }
            places = seesBreakpoints(wanted) ? armedSet.dataRegisters : armedSet.registers
            if let destination, !destination.bySteps { places.insert(destination.linear) }
            if let handler { places.insert(handler) }
            for handler in events.handlers { places.insert(handler) }
        } else {
            places = armedSet.registers
            if let destination, !destination.bySteps { places.insert(destination.linear) }
            blackBox.markFree()
        }
        if places.count > 0 {
            wanted.control.formUnion([.enable, .hardwareBreakpoints])
            wanted.addresses = places.addresses
            wanted.dr7 = places.dr7(except: isStepping ? beforePC : nil)
        }
        if armedSet.hasPatches, patching.table.kind == .int3 {
            wanted.control.formUnion([.enable, .softwareBreakpoints])
        }
        return wanted
    }
}
