import DebugTarget
import KVMCore
import Locking
import Synchronization
import X86

/// Instructions that this host's KVM cannot execute, done here.
extension VCPURunner {
    /// KVM's emulator gave up an instruction (KVM_INTERNAL_ERROR_EMULATION): does it. Nil where that is not ours.
    func assist(_ exit: VCPUExit, _ controller: any RunController) throws(KVMError) -> Verdict? {
        guard case .internalError(let error) = exit, error.suberror == 1,
            try assistAtHand(controller) != nil
        else { return nil }
        guard controller.exited(exit) || takeSeen() else { return .resume }
        return try controller.decide(.handled(exit), vcpu)
    }

    /// Does the instruction at RIP, if it is one of the table's. The vCPU is out of the guest, and no I/O is pending.
    ///
    /// - Parameter delivers: an exception is delivered here, too: KVM would show the guest the trap flag of a step.
    private func assistAtHand(
        _ controller: any RunController, delivers: Bool = false
    ) throws(KVMError) -> Assist.Completion? {
        let record = parts.assist
        guard record.isOn.load(ordering: .relaxed) else { return nil }
        let memory = AssistMemory(parts.memory)
        var state = AssistState(
            general: try vcpu.registers(), special: try vcpu.specialRegisters(), memory: memory)
        let vcpu = vcpu
        state.processor.fpuStatus = { (try? vcpu.fpu())?.statusWord }
        state.processor.xcr0 = { (try? vcpu.xcrs())?.first { $0.index == 0 }?.value }
        state.processor.abilities = try guestAbilities()
        let address = VCPUSnapshot.pc(state.general, state.special)
        let special = state.special
        let wasTracing = state.general.rflags.contains(.tf)
        guard let done = Assist.perform(&state) else { return nil }
        let isDelivered = delivers && done.fault.map { Assist.deliver($0, &state) } ?? false
        // What kvm_run says of interrupts is of the registers before.
        isReadinessKnown = false
        for write in memory.writes {
            let access = MMIO(
                gpa: write.gpa, isWrite: true, data: AccessData(value: write.value, count: write.count))
            // Watched memory is on pages that are protected: whoever protects them is told, as of a write of the guest.
            if parts.memory.isProtected(write.gpa) {
                try answer(access, controller)
            } else {
                _ = parts.memory.perform(access)
            }
        }
        if state.special != special { try vcpu.setSpecialRegisters(state.special) }
        if let fault = done.fault, !isDelivered {
            try raise(fault.vector, fault.code)
        } else {
            try vcpu.setRegisters(state.general)
            // A trap of the guest's own: what clears TF on its way has none.
            if wasTracing, !isDelivered, state.general.rflags.contains(.tf) {
                var debug = try vcpu.debugRegisters()
                debug.dr6 |= 1 << 14
                try vcpu.setDebugRegisters(debug)
                try raise(1, nil)
            }
        }
        record.note(done, at: address)
        return done
    }

    /// By what CPUID tells the guest, which need not be what KVM says that it supports. It does not change once a vCPU has
    /// run (api.rst, KVM_SET_CPUID2).
    private func guestAbilities() throws(KVMError) -> Set<AssistState.Ability> {
        if let known = abilities { return known }
        let found = AssistState.Ability.all(in: try vcpu.cpuid())
        abilities = found
        return found
    }

    /// Has KVM deliver an exception.
    private func raise(_ vector: UInt8, _ code: UInt32?) throws(KVMError) {
        var events = try vcpu.events()
        events.exceptionInjected = true
        events.exceptionPending = false
        events.exceptionVector = vector
        let isProtected = try vcpu.specialRegisters().cr0.contains(.pe)
        events.exceptionHasErrorCode = code != nil && isProtected
        events.exceptionErrorCode = code ?? 0
        try vcpu.setEvents(events)
    }

    // MARK: what is not stepped

    /// Before a step on a host that steps by KVM's emulator, what it would step wrongly is done here instead. Nil where
    /// there is none.
    func assistStep(_ controller: any RunController) throws(KVMError) -> Verdict? {
        guard parts.assist.isOn.load(ordering: .relaxed), !vcpu.isIOPending else { return nil }
        let registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        let code = LinearMemory.prefix(parts.memory, special, VCPUSnapshot.pc(registers, special))
        let isWrong =
            switch CPUMode(registers, special) {
            case .long64: runsOn(after: code, registers, special)
            case .virtual8086, .protected16, .protected32: isUndefinedByKVM(code, special)
            default: false
            }
        guard isWrong, Self.staysAtHighInterrupts, let done = try assistAtHand(controller, delivers: true)
        else { return nil }
        // One that KVM is to deliver comes as the guest is entered.
        if done.fault != nil, try vcpu.events().exceptionInjected { return nil }
        return try controller.decide(.handled(.interrupted), vcpu)
    }

    /// An IRETQ on one level, after which one more instruction runs. The host has its own way to code of CPL 3, and CS
    /// alone does not lead there.
    private func runsOn(
        after code: (bytes: UInt64, count: Int), _ registers: GeneralRegisters, _ special: SpecialRegisters
    ) -> Bool {
        guard code.count >= 2, code.bytes & 0xFFFF == 0xCF48 else { return false }
        let selector = LinearMemory.prefix(parts.memory, special, registers.rsp &+ 8)
        return selector.count >= 2 && selector.bytes & 3 == 0
    }

    /// INT n, INT3 or INTO of code that is not the kernel's: the emulator has them not, and where it has something not, such
    /// code gets #UD with no exit (handle_emulation_failure in arch/x86/kvm/x86.c). So only steps can be helped.
    private func isUndefinedByKVM(_ code: (bytes: UInt64, count: Int), _ special: SpecialRegisters) -> Bool {
        code.count >= 2 && 0xCC...0xCE ~= code.bytes & 0xFF && special.ss.attributes.privilege != 0
    }

    // MARK: INT n that never gets on

    /// Some KVM stay on INT n with n from 80h on for ever, and report nothing: a step leaves RIP where it was.
    ///
    /// - Parameter start: RIP when the vCPU was entered.
    /// - Returns: the exit that the step ends with, where the instruction was done here.
    func assistStuck(
        _ debug: DebugExit, since start: UInt64?, _ controller: any RunController
    ) throws(KVMError) -> DebugExit? {
        guard let start, debug.matched == 0 else { return nil }
        let registers = try vcpu.registers()
        guard registers.rip == start, try assistAtHand(controller) != nil else {
            return nil
        }
        let pc = VCPUSnapshot.pc(try vcpu.registers(), try vcpu.specialRegisters())
        return DebugExit(exception: debug.exception, pc: pc, dr6: debug.dr6, dr7: debug.dr7)
    }

    /// As ``assistStuck(_:since:_:)``, where a kick got a vCPU that runs freely out of the guest.
    func assistStuck(_ controller: any RunController) throws(KVMError) {
        guard try placeToLeave() != nil else { return }
        _ = try assistAtHand(controller)
    }

    /// RIP, where it is at such an instruction and the host is one that does not leave it.
    func placeToLeave() throws(KVMError) -> UInt64? {
        guard parts.assist.isOn.load(ordering: .relaxed), !vcpu.isIOPending else { return nil }
        let registers = try vcpu.registers()
        guard try standsAtHighInterrupt(registers), Self.staysAtHighInterrupts else { return nil }
        return registers.rip
    }

    /// A vCPU that runs freely is looked at again after this time, in nanoseconds.
    private static let lookoutInterval: UInt64 = 50_000_000

    /// Has this vCPU leave the guest after a while, on a host that stays on some instructions.
    func watchForStandstill() {
        guard hostStaysAtHighInterrupts else { return }
        let time = monotonicTime() &+ Self.lookoutInterval
        nextLook = time
        timer?.set(time)
    }

    /// Hosts that step by KVM's emulator are those.
    static let staysAtHighInterrupts = DebugFacilities.ofHost.works(
        .handlerStep, in: [.real, .protectedKernel])

    private func standsAtHighInterrupt(_ registers: GeneralRegisters) throws(KVMError) -> Bool {
        let special = try vcpu.specialRegisters()
        let code = LinearMemory.prefix(parts.memory, special, VCPUSnapshot.pc(registers, special))
        return code.count >= 2 && code.bytes & 0xFF == 0xCD && code.bytes >> 8 & 0xFF >= 0x80
    }
}

extension RunPace {
    /// The instruction at hand may be an IRET.
    var mayBeIRET: Bool {
        switch opcode {
        case nil, .loadsFlags: true
        default: false
        }
    }

    /// It may be an INT n.
    var mayBeINT: Bool {
        switch opcode {
        case nil, .softwareInterrupt: true
        default: false
        }
    }
}
