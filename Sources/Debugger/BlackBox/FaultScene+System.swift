import DebugTarget
import Disassembler
import X86

/// What system registers take. Source: SDM volume 2, the instructions' pages.
extension FaultScene {
    func systemFault(_ instruction: Instruction) -> First? {
        switch instruction.mnemonic {
        case "mov": return moveFault(instruction)
        case "wrmsr":
            let value = registers.rdx << 32 | registers.rax & 0xFFFF_FFFF
            return special.problem(
                writingMSR: UInt32(truncatingIfNeeded: registers.rcx), value, features: view.features
            ).map { first(13, 0, .control($0)) }
        case "xgetbv", "xsetbv": return extendedControlFault(instruction)
        case "lgdt", "lidt":
            guard mode == .long64, let base = word(of: instruction, at: 2, size: 8),
                !isCanonical(base, bits: special.canonicalBits)
            else { return nil }
            return first(13, 0, .targetNonCanonical(base))
        case "invpcid":
            let opcode = FaultOpcode(instruction)
            guard let modrm = opcode.byte(3) else { return nil }
            let type = value(of: modrm >> 3 & 7 | (opcode.rex & 4) << 1)
            return type > 3 ? first(13, 0, .invalidationType(type)) : nil
        case "sysenter", "sysexit": return systemEntryFault(instruction)
        case "sysret":
            // Intel's processors look at the address of a return to 64-bit code.
            guard instruction.operandWidth == 64, !isCanonical(registers.rcx, bits: special.canonicalBits)
            else { return nil }
            return first(13, 0, .targetNonCanonical(registers.rcx))
        default: return nil
        }
    }

    /// MOV to control and debug registers.
    private func moveFault(_ instruction: Instruction) -> First? {
        let opcode = FaultOpcode(instruction)
        guard let modrm = opcode.byte(2), let number = opcode.register else { return nil }
        let source = value(of: modrm & 7 | (opcode.rex & 1) << 3)
        let value = mode == .long64 ? source : source & 0xFFFF_FFFF
        if opcode.matches([0x0F, 0x23]) {
            guard number >= 4, value >> 32 != 0 else { return nil }
            return first(13, 0, .control(.upperHalf(register: number & 1 == 0 ? "DR6" : "DR7")))
        }
        guard opcode.matches([0x0F, 0x22]) else { return nil }
        let read = { (gpa: UInt64) in view.memory.word(gpa, size: 8) }
        let features = view.features
        let problem: ControlWriteProblem?
        switch number {
        case 0: problem = special.problem(writingCR0: value, features: features, read: read)
        case 3: problem = special.problem(writingCR3: value, features: features, read: read)
        case 4: problem = special.problem(writingCR4: value, features: features, read: read)
        case 8: problem = special.problem(writingCR8: value)
        default: problem = nil
        }
        return problem.map { first(13, 0, .control($0)) }
    }

    /// Source: SDM volume 1, 13.3.
    private func extendedControlFault(_ instruction: Instruction) -> First? {
        let index = UInt32(truncatingIfNeeded: registers.rcx)
        let value = registers.rdx << 32 | registers.rax & 0xFFFF_FFFF
        guard instruction.mnemonic == "xsetbv" else {
            // XCR1 is XGETBV's alone.
            return index > 1 ? first(13, 0, .extendedControl(index: index, value: 0)) : nil
        }
        func hasAll(_ mask: UInt64) -> Bool { value & mask == 0 || value & mask == mask }
        let isGood =
            index == 0 && value & 1 == 1 && (value & 4 == 0 || value & 2 != 0) && hasAll(0x18)
            && hasAll(0xE0) && (value & 0xE0 == 0 || value & 6 == 6) && hasAll(0x6_0000) && value >> 63 == 0
        return isGood ? nil : first(13, 0, .extendedControl(index: index, value: value))
    }

    private func systemEntryFault(_ instruction: Instruction) -> First? {
        guard special.cr0.contains(.pe) else { return first(13, 0, .wrongMode(.protectedOnly)) }
        if let selector = facts.msrs[FaultFacts.sysenterCS], selector & 0xFFFC == 0 {
            return first(13, 0, .noSystemEntry)
        }
        guard instruction.mnemonic == "sysexit", instruction.operandWidth == 64 else { return nil }
        let wrong = [registers.rdx, registers.rcx].first { !isCanonical($0, bits: special.canonicalBits) }
        return wrong.map { first(13, 0, .targetNonCanonical($0)) }
    }

    // MARK: what remains

    /// A fault that cannot be seen for sure: asked where nothing else is wrong, and the vCPU has died all the same.
    func likelyFault(_ instruction: Instruction) -> First? {
        switch instruction.mnemonic {
        case "wrmsr", "rdmsr": return first(13, 0, .msr(UInt32(truncatingIfNeeded: registers.rcx)))
        case "xsetbv":
            let value = registers.rdx << 32 | registers.rax & 0xFFFF_FFFF
            return first(
                13, 0, .extendedControl(index: UInt32(truncatingIfNeeded: registers.rcx), value: value))
        case "mov" where FaultOpcode(instruction).matches([0x0F, 0x22]):
            return newBitsFault(instruction)
        default: break
        }
        // The masks are bits 12 to 7.
        guard instruction.unit == .sse || instruction.unit == .avx, let mxcsr = facts.fpu?.mxcsr,
            mxcsr & 0x1F80 != 0x1F80
        else { return nil }
        guard special.cr4.contains(.osxmmexcpt) else { return first(6, nil, .disabled(.osxmmexcpt)) }
        return first(19, nil, .vectorArithmetic(mxcsr: mxcsr))
    }

    /// Bits of CR0, CR4 that this processor does not have: those that the instruction adds.
    private func newBitsFault(_ instruction: Instruction) -> First? {
        let opcode = FaultOpcode(instruction)
        guard let modrm = opcode.byte(2), let number = opcode.register, number == 4 else { return nil }
        let added = value(of: modrm & 7 | (opcode.rex & 1) << 3) & ~special.cr4.rawValue
        return added == 0 ? nil : first(13, 0, .control(.unsupported(register: "CR4", mask: added)))
    }
}
