import Disassembler
import X86

/// #DE and #BR; and near branches that lead out of their segment.
extension FaultScene {
    func arithmeticFault(_ instruction: Instruction) -> First? {
        switch instruction.mnemonic {
        case "div", "idiv": return divideFault(instruction)
        case "aam":
            return instruction.bytes.last == 0 ? first(0, nil, .divideByZero) : nil
        case "bound": return boundFault(instruction)
        default: return nil
        }
    }

    private func divideFault(_ instruction: Instruction) -> First? {
        guard let code = FaultOpcode(instruction).byte(0), code & 0xFE == 0xF6 else { return nil }
        let width = code == 0xF6 ? 8 : instruction.operandWidth
        guard let divisor = operand(instruction, width: width) else { return nil }
        guard divisor != 0 else { return first(0, nil, .divideByZero) }
        let mask = Self.mask(width)
        // AX, or DX and AX of that width.
        let upper = width == 8 ? registers.rax >> 8 & 0xFF : registers.rdx & mask
        let isFit: Bool
        if instruction.mnemonic == "div" {
            // The quotient fits if the upper half is below the divisor.
            isFit = upper < divisor
        } else {
            isFit = Self.signedQuotientFits(upper, registers.rax & mask, divisor, width)
        }
        return isFit ? nil : first(0, nil, .divideOverflow)
    }

    private static func signedQuotientFits(
        _ upper: UInt64, _ lower: UInt64, _ divisor: UInt64, _ width: Int
    ) -> Bool {
        let bits = UInt128(upper) << UInt128(width) | UInt128(lower)
        let signed = bits << UInt128(128 - 2 * width)
        let dividend = Int128(bitPattern: signed) >> Int128(128 - 2 * width)
        let value = Int64(bitPattern: divisor << UInt64(64 - width)) >> Int64(64 - width)
        let (quotient, overflow) = dividend.dividedReportingOverflow(by: Int128(value))
        let limit = Int128(1) << Int128(width - 1)
        return !overflow && quotient >= -limit && quotient < limit
    }

    /// The index register is ModRM.reg; the bounds are a pair in memory. Source: SDM volume 2A, BOUND.
    private func boundFault(_ instruction: Instruction) -> First? {
        let size = instruction.operandWidth / 8
        guard let modrm = FaultOpcode(instruction).byte(1), size == 2 || size == 4,
            let low = word(of: instruction, at: 0, size: size),
            let high = word(of: instruction, at: UInt64(size), size: size)
        else { return nil }
        func signed(_ value: UInt64) -> Int64 {
            let shift = UInt64(64 - size * 8)
            return Int64(bitPattern: value << shift) >> Int64(shift)
        }
        let (index, lower, upper) = (signed(value(of: modrm >> 3 & 7)), signed(low), signed(high))
        return index < lower || index > upper
            ? first(5, nil, .outOfBounds(index, lower: lower, upper: upper)) : nil
    }

    /// Where a near branch that is taken leads to. Source: SDM volume 2, JMP, CALL, RET and Jcc.
    func branchFault(_ instruction: Instruction) -> First? {
        let isBranch = !instruction.traits.isDisjoint(with: [.jump, .call, .return, .conditional])
        guard isBranch, !instruction.traits.contains(.far), instruction.willBranch(file) ?? false,
            let target = nearTarget(instruction)
        else { return nil }
        return targetFault(target, special.cs, isLong: mode == .long64)
    }

    private func nearTarget(_ instruction: Instruction) -> UInt64? {
        if case .near(let offset)? = instruction.target { return offset }
        let width = mode == .long64 ? 64 : instruction.operandWidth
        if instruction.traits.contains(.return) { return stackWord(0, size: width / 8) }
        guard instruction.traits.contains(.indirect) else { return nil }
        return operand(instruction, width: width)
    }

    /// Whether an offset lies within a code segment.
    func targetFault(_ offset: UInt64, _ segment: Segment, isLong: Bool) -> First? {
        if isLong {
            let isGood = isCanonical(offset, bits: special.canonicalBits)
            return isGood ? nil : first(13, 0, .targetNonCanonical(offset))
        }
        return offset > UInt64(segment.limit)
            ? first(13, 0, .targetLimit(offset: offset, limit: segment.limit)) : nil
    }
}
