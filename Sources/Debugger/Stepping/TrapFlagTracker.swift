import DebugTarget
import Disassembler
import X86

/// The guest's own TF, kept apart from the one that a host may single-step with.
///
/// While KVM_GUESTDBG_SINGLESTEP is set, KVM hides TF from whoever reads registers and from its own emulator, drops it
/// when single-step is switched off, and reports the trap that the guest's own TF makes to us alone (kvm_get_rflags,
/// kvm_arch_vcpu_ioctl_set_guest_debug and handle_exception_nmi in arch/x86/kvm). VMX and SVM, on the other hand, step
/// with TF itself, which PUSHF and INT then push. So the guest's TF is followed through the instructions that change it.
struct TrapFlagTracker: Sendable {
    /// The guest's TF.
    var isSet = false
    /// What the instruction at hand loads into it, if it loads RFLAGS.
    var loaded = false
    /// KVM hides it: what is read of RFLAGS does not have it.
    var isHidden = false
    /// The trap that it makes is on its way to the guest's handler.
    var isDelivering = false

    static let bit: UInt64 = 1 << 8

    /// The guest was left alone until now, so that its registers have its TF in them.
    mutating func begin(_ registers: GeneralRegisters) {
        isDelivering = false
        isSet = registers.rflags.contains(.tf)
    }

    /// Registers as KVM gave them, with the guest's TF.
    func shown(_ registers: GeneralRegisters) -> GeneralRegisters {
        var registers = registers
        if isHidden, isSet { registers.rflags.insert(.tf) }
        return registers
    }

    /// Registers with the guest's TF, whatever they had.
    func settled(_ registers: GeneralRegisters) -> GeneralRegisters {
        var registers = registers
        if isSet { registers.rflags.insert(.tf) } else { registers.rflags.remove(.tf) }
        return registers
    }

    /// What TF will be after an instruction that loads RFLAGS; asked before it.
    ///
    /// - Parameter syscallMask: MSR_SYSCALL_MASK, asked for only where it counts; nil where it cannot be read.
    func value(
        after instruction: Instruction?, _ registers: GeneralRegisters, _ view: LinearMemory,
        syscallMask: () -> UInt64?
    ) -> Bool {
        guard let instruction else { return isSet }
        switch instruction.mnemonic {
        // R11, and what MSR_SYSCALL_MASK leaves. Source: SDM volume 2B, SYSRET and SYSCALL.
        case "sysret": return registers.r11 & Self.bit != 0
        case "syscall": return isSet && (syscallMask() ?? 0) & Self.bit == 0
        case "sysenter", "sysexit": return isSet
        default:
            let width = UInt64(instruction.operandWidth / 8)
            let offset = instruction.traits.contains(.interruptReturn) ? width * 2 : 0
            let slot = StackImage(view).address(registers, offset)
            return view.physical(slot &+ 1).flatMap { view.memory.word($0, size: 1) }.map { $0 & 1 != 0 }
                ?? isSet
        }
    }
}
