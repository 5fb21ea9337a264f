import CZydis
import X86

/// What Zydis's structures say, in our terms.
struct InstructionFacts {
    var mnemonic: String
    var traits: InstructionTraits = []
    var unit = InstructionUnit.general
    var interruptVector: UInt8?
    var target: BranchTarget?
    var condition: BranchCondition?
    var memory: [MemoryOperand] = []
    /// The address that a relative immediate stands for, wrapped as the instruction pointer is.
    var relative: UInt64?

    init(
        _ raw: ZydisDecodedInstruction, _ operands: UnsafeBufferPointer<ZydisDecodedOperand>, address: UInt64,
        mode: DecodeMode
    ) {
        // SAFETY: the name is a static, NUL-terminated string, or NULL.
        mnemonic = unsafe czydis_mnemonic(raw.mnemonic).map { unsafe String(cString: $0) } ?? ""
        classify(raw)
        // SAFETY: the buffer is lent for this call and holds initialised operands only.
        unit = unsafe InstructionUnit(raw, operands)
        let end = mode.advance(address, by: Int(raw.length))
        // SAFETY: the buffer is lent for this call and holds initialised operands only.
        for operand in unsafe operands {
            switch operand.type {
            case ZYDIS_OPERAND_TYPE_REGISTER:
                note(
                    register: operand.reg.value, operand,
                    isBranch: raw.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
            case ZYDIS_OPERAND_TYPE_MEMORY:
                if raw.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE, operand.isExplicit {
                    traits.insert(.indirect)
                }
                if let access = MemoryOperand(operand, raw, end: end) { memory.append(access) }
            case ZYDIS_OPERAND_TYPE_POINTER:
                target = .far(
                    SegmentedAddress(selector: operand.ptr.segment, offset: UInt64(operand.ptr.offset)))
            case ZYDIS_OPERAND_TYPE_IMMEDIATE:
                note(immediate: operand.imm, raw, end: end, address: address)
            default: break
            }
        }
    }

    private mutating func classify(_ raw: ZydisDecodedInstruction) {
        switch raw.meta.category {
        case ZYDIS_CATEGORY_CALL: traits.insert(.call)
        case ZYDIS_CATEGORY_RET:
            traits.insert(raw.mnemonic == ZYDIS_MNEMONIC_RET ? .return : .interruptReturn)
        case ZYDIS_CATEGORY_UNCOND_BR:
            if raw.mnemonic == ZYDIS_MNEMONIC_JMP { traits.insert(.jump) }
        case ZYDIS_CATEGORY_COND_BR: classifyConditional(raw)
        case ZYDIS_CATEGORY_INTERRUPT: classifyInterrupt(raw)
        case ZYDIS_CATEGORY_STRINGOP: traits.insert(.string)
        case ZYDIS_CATEGORY_IOSTRINGOP: traits.formUnion([.string, .portIO])
        case ZYDIS_CATEGORY_IO: traits.insert(.portIO)
        case ZYDIS_CATEGORY_SYSCALL: traits.insert(.systemCall)
        case ZYDIS_CATEGORY_SYSRET: traits.insert(.systemReturn)
        default: break
        }
        switch raw.mnemonic {
        case ZYDIS_MNEMONIC_HLT: traits.insert(.halt)
        case ZYDIS_MNEMONIC_LMSW, ZYDIS_MNEMONIC_CLTS: traits.insert(.writesControl)
        // Zydis knows this of LIDT, not of LGDT.
        case ZYDIS_MNEMONIC_LGDT: traits.insert(.privileged)
        default: break
        }
        if raw.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || traits.contains(.interruptReturn) {
            traits.insert(.far)
        }
        let prefixes = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE
        if raw.attributes & UInt64(prefixes) != 0, traits.contains(.string) { traits.insert(.rep) }
        if raw.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 { traits.insert(.privileged) }
    }

    private mutating func classifyConditional(_ raw: ZydisDecodedInstruction) {
        switch (raw.opcode_map, raw.opcode) {
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0x70...0x7F), (ZYDIS_OPCODE_MAP_0F, 0x80...0x8F):
            condition = .flags(raw.opcode & 0xF)
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE0): condition = .loopWhileNotEqual
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE1): condition = .loopWhileEqual
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE2): condition = .loop
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE3): condition = .counterIsZero
        // XBEGIN: what decides it cannot be known.
        default: return
        }
        traits.insert(.conditional)
        if (0xE0...0xE2).contains(raw.opcode) { traits.insert(.loop) }
    }

    private mutating func classifyInterrupt(_ raw: ZydisDecodedInstruction) {
        switch raw.mnemonic {
        case ZYDIS_MNEMONIC_INT3: interruptVector = 3
        case ZYDIS_MNEMONIC_INT1: interruptVector = 1
        case ZYDIS_MNEMONIC_INTO: interruptVector = 4
        // Its vector comes with the immediate.
        case ZYDIS_MNEMONIC_INT: break
        default: return
        }
        traits.insert(.interrupt)
    }

    private mutating func note(register: ZydisRegister, _ operand: ZydisDecodedOperand, isBranch: Bool) {
        if isBranch, operand.isExplicit { traits.insert(.indirect) }
        guard operand.isWritten else { return }
        switch ZydisRegisterGetClass(register) {
        case ZYDIS_REGCLASS_CONTROL: traits.insert(.writesControl)
        case ZYDIS_REGCLASS_DEBUG: traits.insert(.writesDebug)
        case ZYDIS_REGCLASS_SEGMENT:
            if !isBranch, traits.isDisjoint(with: [.interrupt, .far, .systemCall, .systemReturn]) {
                traits.insert(.writesSegment)
            }
        default: break
        }
    }

    private mutating func note(
        immediate: ZydisDecodedOperandImm, _ raw: ZydisDecodedInstruction, end: UInt64, address: UInt64
    ) {
        if immediate.is_relative != 0 {
            var offset = address &+ UInt64(raw.length) &+ UInt64(bitPattern: immediate.value.s)
            switch raw.operand_width {
            case 16: offset &= 0xFFFF
            case 32: offset &= 0xFFFF_FFFF
            default: break
            }
            relative = offset
            if !traits.isDisjoint(with: [.jump, .call, .conditional]) { target = .near(offset) }
        } else if raw.mnemonic == ZYDIS_MNEMONIC_INT {
            interruptVector = UInt8(truncatingIfNeeded: immediate.value.u)
        }
    }
}

extension ZydisDecodedOperand {
    var isExplicit: Bool { visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT }
    var isRead: Bool { actions & UInt8(ZYDIS_OPERAND_ACTION_MASK_READ.rawValue) != 0 }
    var isWritten: Bool { actions & UInt8(ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue) != 0 }
}

extension MemoryOperand {
    /// Nil for a base or segment that is no register of ours, which no operand has.
    fileprivate init?(_ operand: ZydisDecodedOperand, _ raw: ZydisDecodedInstruction, end: UInt64) {
        guard let segment = SegmentName(operand.mem.segment) else { return nil }
        let isVector = operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB
        self.init(
            segment: segment, base: GeneralRegister(operand.mem.base),
            index: isVector ? nil : GeneralRegister(operand.mem.index), indexWidth: Int(raw.address_width),
            scale: max(Int(operand.mem.scale), 1), displacement: operand.mem.disp.value,
            size: Int(operand.size) / 8, isRead: operand.isRead, isWritten: operand.isWritten,
            isImplicit: !operand.isExplicit && operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN,
            isAddressOnly: operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN, hasVectorIndex: isVector,
            addressWidth: Int(raw.address_width), instructionEnd: end)
        if raw.mnemonic == ZYDIS_MNEMONIC_XLAT {
            // Zydis leaves the index out.
            index = .rax
            indexWidth = 8
        }
        if isImplicit, base == .rsp, isWritten, !isRead {
            // A push: the stack pointer goes down first. Zydis gives the slot without that.
            displacement &-= Int64(size)
        }
        if raw.mnemonic == ZYDIS_MNEMONIC_POP, operand.isExplicit, base == .rsp {
            // POP to memory computes the address after the stack pointer went up (SDM volume 2B, POP).
            displacement &+= Int64(size)
        }
    }
}

extension SegmentName {
    fileprivate init?(_ register: ZydisRegister) {
        switch register {
        case ZYDIS_REGISTER_CS: self = .cs
        case ZYDIS_REGISTER_DS: self = .ds
        case ZYDIS_REGISTER_ES: self = .es
        case ZYDIS_REGISTER_FS: self = .fs
        case ZYDIS_REGISTER_GS: self = .gs
        case ZYDIS_REGISTER_SS: self = .ss
        default: return nil
        }
    }
}

extension GeneralRegister {
    fileprivate init?(_ register: ZydisRegister) {
        // The instruction pointer has no "largest enclosing" register in Zydis 4.0.
        if register == ZYDIS_REGISTER_RIP || register == ZYDIS_REGISTER_EIP {
            self = .rip
            return
        }
        let whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, register)
        guard (ZYDIS_REGISTER_RAX.rawValue...ZYDIS_REGISTER_R15.rawValue).contains(whole.rawValue)
        else { return nil }
        self.init(rawValue: UInt8(truncatingIfNeeded: whole.rawValue - ZYDIS_REGISTER_RAX.rawValue))
    }
}

extension DecodeMode {
    var machineMode: ZydisMachineMode {
        switch self {
        case .real16: ZYDIS_MACHINE_MODE_REAL_16
        case .protected16: ZYDIS_MACHINE_MODE_LEGACY_16
        case .compatibility16: ZYDIS_MACHINE_MODE_LONG_COMPAT_16
        case .protected32: ZYDIS_MACHINE_MODE_LEGACY_32
        case .compatibility32: ZYDIS_MACHINE_MODE_LONG_COMPAT_32
        case .long64: ZYDIS_MACHINE_MODE_LONG_64
        }
    }
}
