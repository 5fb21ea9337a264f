import Disassembler
import KVMCore
import X86

/// Keeps the guest's TF apart from the one that a host may single-step with.
///
/// While KVM_GUESTDBG_SINGLESTEP is set, KVM hides TF from whoever reads registers and from its own emulator, drops it
/// when single-step is switched off, and reports the trap that the guest's own TF makes to us alone (kvm_get_rflags,
/// kvm_arch_vcpu_ioctl_set_guest_debug and handle_exception_nmi in arch/x86/kvm). VMX and SVM, on the other hand, step
/// with TF itself, which PUSHF and INT then push. So the driver follows the guest's TF through the instructions that
/// change it, mends what they push, and hands the guest its traps.
extension VCPUDriver {
    /// The registers with the guest's TF in them.
    func guestRegisters(_ vcpu: any VCPUAccess) throws(KVMError) -> GeneralRegisters {
        var registers = try vcpu.registers()
        if hidesTF, hasTF { registers.rflags.insert(.tf) }
        return registers
    }

    /// Makes KVM show and keep the guest's TF: before registers are edited, and before a guest is let go for good.
    func showTrapFlag(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard hidesTF else { return }
        armed = nil
        try vcpu.setGuestDebug(.off)
        hidesTF = false
        try restoreTrapFlag(vcpu)
    }

    /// Single-step was switched off, and TF with it.
    func restoreTrapFlag(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard hasTF else { return }
        var registers = try vcpu.registers()
        registers.rflags.insert(.tf)
        try vcpu.setRegisters(registers)
    }

    /// What TF will be behind an instruction that loads RFLAGS; asked before it.
    func loadedTrapFlag(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) -> Bool {
        let view = LinearMemory(memory: memory, special: special)
        let snapshot = VCPUSnapshot(id: id, registers: registers, special: special, activity: .stopped)
        guard let instruction = Debugger.decodeNext(snapshot, view) else { return hasTF }
        switch instruction.mnemonic {
        // R11, and what MSR_SYSCALL_MASK leaves. Source: SDM volume 2B, SYSRET and SYSCALL.
        case "sysret": return registers.r11 & Self.tfBit != 0
        case "syscall": return hasTF && ((try? vcpu.msr(0xC000_0084)) ?? 0) & Self.tfBit == 0
        case "sysenter", "sysexit": return hasTF
        default:
            let width = UInt64(instruction.operandWidth / 8)
            let offset = instruction.traits.contains(.interruptReturn) ? width * 2 : 0
            let slot = stackAddress(registers, special, offset)
            return view.physical(slot &+ 1).flatMap { memory.word($0, size: 1) }.map { $0 & 1 != 0 } ?? hasTF
        }
    }

    static let tfBit: UInt64 = 1 << 8

    /// An instruction that has to do with RFLAGS or SS was executed, or the guest steps itself.
    ///
    /// - Parameter registers: get the guest's TF.
    /// - Returns: `.resume` where a trap of the guest's own is on its way: the instruction is over when it is there.
    func settleTrapFlag(
        _ registers: inout GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64, _ vcpu: any VCPUAccess
    ) throws(KVMError) -> Verdict? {
        let had = hasTF
        // MOV SS and POP SS hold the trap off for one instruction (SDM volume 3A, 6.8.3).
        var traps = had
        switch opcode {
        case .pushesFlags:
            mendImage(at: stackAddress(registers, special, 0), to: had, special)
        case .loadsFlags:
            hasTF = loadedTF
        case .softwareInterrupt:
            guard pc == handler else { break }
            let offset = InterruptEntry.flagsOffset(
                opcode.vector, LinearMemory(memory: memory, special: special))
            mendImage(at: stackAddress(registers, special, offset), to: had, special)
            hasTF = false
            traps = false
        case .loadsStackSegment:
            traps = false
            noteDoubleStep(special, pc)
        case .ordinary, .halt, .repeatsString: break
        }
        if hasTF { registers.rflags.insert(.tf) } else { registers.rflags.remove(.tf) }
        guard traps else { return nil }
        try deliverTrap(registers, special, vcpu)
        return .resume
    }

    /// Hosts that step with TF do not stop right behind an instruction that loads SS.
    private func noteDoubleStep(_ special: SpecialRegisters, _ pc: UInt64) {
        let snapshot = VCPUSnapshot(id: id, registers: before, special: special, activity: .stopped)
        guard let instruction = Debugger.decodeNext(snapshot, LinearMemory(memory: memory, special: special))
        else { return }
        guard special.linear(.cs, instruction.next, mode: snapshot.mode) != pc else { return }
        steps += 1
        steppedTwo = true
        armed = nil
    }

    /// Gives the guest the trap of its own TF: KVM delivers #DB, and stops at its handler.
    private func deliverTrap(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ vcpu: any VCPUAccess
    ) throws(KVMError) {
        let view = LinearMemory(memory: memory, special: special)
        handler = InterruptEntry.linear(1, view)
        isStepping = true
        isDelivering = handler != nil
        before = registers
        isRetried = true
        armed = nil
        var debug = guestDebug()
        if isDelivering { debug.control.remove([.singleStep, .blockInterrupts]) }
        try vcpu.setGuestDebug(debug)
        hidesTF = debug.control.contains(.singleStep)
        var pushed = registers
        pushed.rflags.insert(.tf)
        try vcpu.setRegisters(pushed)
        try inject(debug, vcpu)
        // Where no handler can be found there is nothing to stop at, nor a frame to mend.
        if !isDelivering { hasTF = false }
    }

    /// The trap of the guest's own TF came to us, while the guest ran freely.
    func passTrapOn(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        armed = nil
        try inject(guestDebug(), vcpu)
        return .resume
    }

    private func inject(_ debug: GuestDebug, _ vcpu: any VCPUAccess) throws(KVMError) {
        var registers = try vcpu.debugRegisters()
        registers.dr6 |= 1 << 14
        try vcpu.setDebugRegisters(registers)
        var debug = debug
        debug.control.formUnion([.enable, .injectDB])
        try vcpu.setGuestDebug(debug)
    }

    /// The guest stands at the first instruction of its #DB handler.
    func trapWasDelivered(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        isDelivering = false
        hasTF = false
        var registers = try vcpu.registers()
        registers.rflags.remove(.tf)
        return try concluded(registers, try vcpu.specialRegisters(), vcpu)
    }

    /// A step that led far away may have ended in an exception or an interrupt: then the TF of the RFLAGS that it pushed
    /// is mended. KVM pushes the TF of its own single step with them, and the processor clears TF on the way.
    ///
    /// - Returns: whether it was one.
    func mendException(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> Bool {
        if case .softwareInterrupt = opcode { return false }
        let isLong = special.efer.contains(.lma)
        let widths: [UInt64] = isLong ? [8] : special.cr0.contains(.pe) ? [4, 2] : [2]
        for width in widths {
            // Below the old stack pointer, whatever the handler's first instruction did to the new one; and above the new
            // one, on a stack of its own, with or without an error code.
            let old = width == 8 ? (before.rsp & ~15) &- 40 : before.rsp &- 3 &* width
            let offsets = [old &- registers.rsp] + (0..<4).map { $0 &* width }
            for offset in offsets {
                let frame = stackAddress(registers, special, offset)
                guard image(frame, width, special) == before.rip & mask(width),
                    image(frame &+ width, 2, special) == UInt64(beforeSelector)
                else { continue }
                // What a CALL has pushed may lie above what an interrupt left behind.
                guard !steppedACall(special) else { return false }
                mendImage(at: frame &+ 2 &* width, to: hasTF, special)
                hasTF = false
                armed = nil
                return true
            }
        }
        return false
    }

    private func mask(_ width: UInt64) -> UInt64 { width == 8 ? .max : 1 << (width * 8) - 1 }

    private func image(_ linear: UInt64, _ width: UInt64, _ special: SpecialRegisters) -> UInt64? {
        LinearMemory(memory: memory, special: special).word(linear, size: Int(width))
    }

    private func steppedACall(_ special: SpecialRegisters) -> Bool {
        let first = Self.prefix(memory, special, beforePC)
        var bytes = first.bytes
        // Operand-size and segment prefixes, and REX, which in other modes is an INC or DEC: no call.
        for _ in 0..<7 {
            switch bytes & 0xFF {
            case 0x26, 0x2E, 0x36, 0x3E, 0x40...0x4F, 0x64...0x67: bytes >>= 8
            case 0xE8, 0x9A: return true
            // FF /2 and /3.
            case 0xFF: return (2...3).contains(bytes >> 11 & 7)
            default: return false
            }
        }
        return false
    }

    /// The linear address so far above the stack pointer.
    private func stackAddress(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ offset: UInt64
    ) -> UInt64 {
        let mode = CPUMode(registers, special)
        let width = mode.stackWidth(ss: special.ss.attributes)
        let mask: UInt64 = width == 8 ? .max : 1 << UInt64(width * 8) - 1
        return special.linear(.ss, (registers.rsp &+ offset) & mask, mode: mode)
    }

    /// Makes TF what it should be in an image of RFLAGS on the stack.
    private func mendImage(at linear: UInt64, to wanted: Bool, _ special: SpecialRegisters) {
        // TF is bit 0 of the second byte.
        guard let place = physical(linear &+ 1, special), let byte = memory.word(place, size: 1),
            (byte & 1 != 0) != wanted
        else { return }
        let mended = UInt8(truncatingIfNeeded: byte ^ 1)
        // It was read: it can be written, or it is ROM, where nothing was pushed to.
        withUnsafeBytes(of: mended) { try? memory.write(place, $0) }
    }
}
