import Disassembler
import X86

/// STI, done as the processor does it, where IF was clear: AMD's processors recognize neither interrupts nor "certain
/// debug traps" after it until one more instruction is over, so a host that steps with TF would step two.
///
/// Source: AMD64 volume 2, 15.21.5; SDM volume 2, STI.
struct InterruptPermit {
    /// Interrupts wait for the next instruction, too: KVM_X86_SHADOW_INT_STI.
    static let shadow: UInt8 = 2

    /// After it.
    let registers: GeneralRegisters

    /// Nil where the instruction is no STI, IF is set already, or the privilege does not do: that is the processor's.
    init?(_ instruction: Instruction, _ registers: GeneralRegisters, _ special: SpecialRegisters) {
        guard instruction.mnemonic == "sti", !registers.rflags.contains(.if) else { return nil }
        // IOPL: bits 12 and 13.
        let ioPrivilege = UInt8(truncatingIfNeeded: registers.rflags.rawValue >> 12 & 3)
        switch CPUMode(registers, special) {
        case .real: break
        // Without IOPL 3 it may set VIF instead.
        case .virtual8086: guard ioPrivilege == 3 else { return nil }
        default: guard special.ss.attributes.privilege <= ioPrivilege else { return nil }
        }
        var after = registers
        after.rip = instruction.next
        after.rflags.insert(.if)
        after.rflags.remove(.rf)
        self.registers = after
    }
}
