import DebugTarget
import Disassembler
import KVMCore
import X86

/// What one instruction accessed in physical memory, found from its operands.
struct MemoryAccess: Sendable, Hashable {
    var gpa: UInt64
    /// In bytes.
    var count: Int
    var isWrite: Bool

    /// The accesses of an instruction that was executed between two states. A repeated string instruction makes one of
    /// all that it went over.
    static func between(
        _ before: RegisterFile, _ instruction: Instruction, _ after: GeneralRegisters, _ view: LinearMemory
    ) -> [MemoryAccess] {
        all(instruction, view) { operand in
            guard let linear = operand.linear(in: before) else { return nil }
            guard instruction.traits.isSuperset(of: [.string, .rep]) else { return (linear, operand.size) }
            let mask: UInt64 = operand.addressWidth >= 64 ? .max : 1 << UInt64(operand.addressWidth) - 1
            let rounds = (before.general.rcx &- after.rcx) & mask
            guard rounds > 0, rounds <= 1 << 32 else { return nil }
            let size = UInt64(operand.size)
            let isBackwards = before.general.rflags.contains(.df)
            return (isBackwards ? linear &- (rounds - 1) * size : linear, Int(rounds * size))
        }
    }

    /// The accesses of an instruction of which only the state after it is known. Where it changed a register that its
    /// address is made of they are wrong: whoever knows which bytes were accessed compares.
    static func before(
        _ after: RegisterFile, _ instruction: Instruction, _ view: LinearMemory
    ) -> [MemoryAccess] {
        let isBackwards = after.general.rflags.contains(.df)
        return all(instruction, view) { operand in
            let size = UInt64(operand.size)
            if operand.isImplicit, operand.segment == .ss, operand.base == .rsp {
                // A push leaves SP at what it wrote, a pop after what it read.
                var slot = operand
                slot.displacement = operand.isWritten ? 0 : -Int64(operand.size)
                return slot.linear(in: after).map { ($0, operand.size) }
            }
            guard let linear = operand.linear(in: after) else { return nil }
            guard instruction.traits.contains(.string) else { return (linear, operand.size) }
            return (isBackwards ? linear &+ size : linear &- size, operand.size)
        }
    }

    private static func all(
        _ instruction: Instruction, _ view: LinearMemory,
        _ place: (MemoryOperand) -> (linear: UInt64, count: Int)?
    ) -> [MemoryAccess] {
        var found: [MemoryAccess] = []
        for operand in instruction.memory where !operand.isAddressOnly {
            guard let (linear, count) = place(operand), let gpa = view.physical(view.cut(linear)) else {
                continue
            }
            if operand.isWritten { found.append(MemoryAccess(gpa: gpa, count: count, isWrite: true)) }
            if operand.isRead { found.append(MemoryAccess(gpa: gpa, count: count, isWrite: false)) }
        }
        return found
    }
}

extension StepEngine {
    /// What the instruction that was stepped accessed.
    func steppedAccesses(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> [MemoryAccess] {
        guard let instruction = decode(here.registers, special) else { return [] }
        return MemoryAccess.between(
            RegisterFile(general: here.registers, special: special), instruction, registers,
            LinearMemory(memory: memory, special: special))
    }

    /// What the instruction that a data breakpoint fired after accessed.
    func lastAccesses(_ vcpu: any VCPUAccess) throws(KVMError) -> [MemoryAccess] {
        let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
        if isStepping { return steppedAccesses(registers, special) }
        let view = LinearMemory(memory: memory, special: special)
        let pc = VCPUSnapshot.pc(registers, special)
        // In a repeated instruction RIP stays.
        if let instruction = decode(registers, special),
            instruction.traits.isSuperset(of: [.string, .rep])
        {
            let found = MemoryAccess.before(
                RegisterFile(general: registers, special: special), instruction, view)
            if !found.isEmpty { return found }
        }
        let count = min(48, registers.rip)
        let image = view.read(pc &- count, count: Int(count), .linear(pc &- count))
        guard image.leading.count == Int(count),
            let instruction = Disassembler().decodeBackwards(
                Array(image.leading), at: registers.rip &- count, DecodeMode(registers, special), count: 1
            ).last
        else { return [] }
        return MemoryAccess.before(
            RegisterFile(general: registers, special: special), instruction, view)
    }
}
