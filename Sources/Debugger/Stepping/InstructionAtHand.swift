import X86

/// The instruction that a vCPU stands before, and the vCPU as it is there: what has to be known beforehand to tell
/// afterwards what became of it.
struct InstructionAtHand: Sendable {
    /// Before it.
    var registers: GeneralRegisters
    /// Its linear address.
    var pc: UInt64 = 0
    /// CS's selector before it.
    var selector: UInt16 = 0
    /// Whether linear addresses are translated there, and whether the code there is not of CPL 3.
    var isPaging = false
    var isPrivileged = false
    /// An exception there may start with a breakpoint's instruction.
    var mayStartHandler = true
    var opcode = OpcodeClass.ordinary
    /// Where it leads to, if it is a software interrupt whose gate can be read.
    var handler: UInt64?
    /// It was begun again, because nothing of it was done.
    var isRetried = false

    init(registers: GeneralRegisters) { self.registers = registers }

    /// - Parameters:
    ///   - prefix: its first bytes, the first in bits 0-7.
    ///   - count: how many of them are known, 8 at most.
    init(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, pc: UInt64, prefix: UInt64, count: Int,
        memory: any PhysicalMemory
    ) {
        self.registers = registers
        self.pc = pc
        selector = special.cs.selector
        isPaging = special.cr0.contains(.pg)
        isPrivileged = special.ss.attributes.privilege != 3 && !registers.rflags.contains(.vm)
        opcode = OpcodeClass(
            bytes: prefix, count: count,
            isLong: special.efer.contains(.lma) && special.cs.attributes.isLong)
        if case .softwareInterrupt(let vector) = opcode {
            handler = InterruptEntry.linear(vector, LinearMemory(memory: memory, special: special))
        }
    }

    /// Whether an instruction that does not branch can have led from here to `ip`, which in a 16- or 32-bit segment may
    /// lie over its end.
    func leadsOn(to ip: UInt64) -> Bool {
        let distance = ip &- registers.rip
        return distance <= 15 || distance & 0xFFFF <= 15 || distance & 0xFFFF_FFFF <= 15
    }
}
