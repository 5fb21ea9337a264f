import CZydis

/// What part of the processor executes an instruction: control registers allow each part by rules of its own.
/// Source: SDM volume 3A, 2.5 and table 6-1; volume 1, 13.
public enum InstructionUnit: String, Sendable, Hashable, CaseIterable {
    /// Integers, branches and the system: no control register switches them off as a whole.
    case general
    /// The x87, FWAIT among them.
    case x87
    case mmx
    /// With XMM registers or MXCSR, in the encoding without VEX.
    case sse
    /// FXSAVE and FXRSTOR.
    case fxsave
    /// XSAVE, XRSTOR and their kin.
    case xsave
    /// XGETBV and XSETBV.
    case xcr
    /// VEX or XOP encoding with vector registers.
    case avx
    /// EVEX encoding, or mask registers.
    case avx512
    /// VEX encoding without vector registers (BMI1, BMI2).
    case vex
}

extension InstructionUnit {
    init(_ raw: ZydisDecodedInstruction, _ operands: UnsafeBufferPointer<ZydisDecodedOperand>) {
        switch raw.meta.isa_set {
        case ZYDIS_ISA_SET_FXSAVE, ZYDIS_ISA_SET_FXSAVE64:
            self = .fxsave
            return
        case ZYDIS_ISA_SET_XSAVE, ZYDIS_ISA_SET_XSAVEC, ZYDIS_ISA_SET_XSAVEOPT, ZYDIS_ISA_SET_XSAVES:
            let isXCR = raw.mnemonic == ZYDIS_MNEMONIC_XGETBV || raw.mnemonic == ZYDIS_MNEMONIC_XSETBV
            self = isXCR ? .xcr : .xsave
            return
        case ZYDIS_ISA_SET_SSEMXCSR:
            self = .sse
            return
        case ZYDIS_ISA_SET_X87, ZYDIS_ISA_SET_FCMOV, ZYDIS_ISA_SET_SSE3X87:
            self = .x87
            return
        default: break
        }
        if raw.mnemonic == ZYDIS_MNEMONIC_EMMS || raw.mnemonic == ZYDIS_MNEMONIC_FEMMS {
            self = .mmx
            return
        }
        var hasVector = false
        var hasMMX = false
        var hasMask = false
        // SAFETY: the buffer is lent by the caller for this call and holds initialised operands only.
        for operand in unsafe operands where operand.type == ZYDIS_OPERAND_TYPE_REGISTER {
            switch ZydisRegisterGetClass(operand.reg.value) {
            case ZYDIS_REGCLASS_XMM, ZYDIS_REGCLASS_YMM, ZYDIS_REGCLASS_ZMM: hasVector = true
            case ZYDIS_REGCLASS_MMX: hasMMX = true
            case ZYDIS_REGCLASS_MASK: hasMask = true
            default: break
            }
        }
        switch raw.encoding {
        case ZYDIS_INSTRUCTION_ENCODING_EVEX, ZYDIS_INSTRUCTION_ENCODING_MVEX: self = .avx512
        case ZYDIS_INSTRUCTION_ENCODING_VEX, ZYDIS_INSTRUCTION_ENCODING_XOP:
            // VZEROUPPER and VZEROALL name no register.
            let isAVX = hasVector || raw.meta.isa_ext == ZYDIS_ISA_EXT_AVX
            self = hasMask ? .avx512 : isAVX ? .avx : .vex
        default: self = hasVector ? .sse : hasMMX ? .mmx : .general
        }
    }
}
