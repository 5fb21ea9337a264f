import CZydis
import Glibc

/// Decodes x86 instructions, through Zydis.
public struct Disassembler: Sendable, Hashable {
    public init() {}

    /// Decodes the instruction that `bytes` begins with.
    ///
    /// Fifteen bytes are enough; fewer will do at the end of readable memory, and then ``Instruction/validity``
    /// says `.truncated` where more were needed. With no bytes at all the result is a truncated instruction of
    /// length 0.
    /// - Parameters:
    ///   - address: the offset in the code segment (IP), for which relative targets are computed: in 16-bit
    ///     code they wrap at 64 KiB. Not the linear address, unless the segment begins at 0.
    ///   - formatted: false leaves ``Instruction/text`` empty, at half the cost.
    public func decode(
        _ bytes: some Collection<UInt8>, at address: UInt64, _ mode: DecodeMode, formatted: Bool = true
    ) -> Instruction {
        let window = Array(bytes.prefix(Instruction.maximumLength))
        guard !window.isEmpty else { return Self.undecoded(window, .truncated, address, mode) }
        // An instruction and its operands are 0.9 KiB of C structures; they live on the stack for the call.
        return withUnsafeTemporaryAllocation(
            of: ZydisDecodedOperand.self, capacity: Int(ZYDIS_MAX_OPERAND_COUNT)
        ) {
            operands in
            var raw = ZydisDecodedInstruction()
            let status = window.withUnsafeBufferPointer { buffer in
                // SAFETY: the buffer holds `count` bytes and `operands` ZYDIS_MAX_OPERAND_COUNT entries, the
                // most that are written; none is kept.
                unsafe czydis_decode(
                    mode.machineMode, buffer.baseAddress, buffer.count, &raw, operands.baseAddress)
            }
            switch status {
            case 0: break
            case -ENODATA: return Self.undecoded(window, .truncated, address, mode)
            default: return Self.undecoded(Array(window.prefix(1)), .bad, address, mode)
            }
            // SAFETY: on success the first `operand_count` entries, at most the capacity, were initialised.
            let decoded = unsafe UnsafeMutableBufferPointer(
                start: operands.baseAddress, count: Int(raw.operand_count))
            return instruction(raw, decoded, window, address, mode, formatted: formatted)
        }
    }

    /// Decodes instructions that follow each other, `count` at most, until the bytes are used up. The last
    /// is `.truncated` where the bytes end within it.
    public func decode(
        _ bytes: some Collection<UInt8>, at address: UInt64, _ mode: DecodeMode, count: Int
    ) -> [Instruction] {
        var instructions: [Instruction] = []
        var rest = bytes[...]
        var address = address
        while !rest.isEmpty, instructions.count < count {
            let instruction = decode(rest, at: address, mode)
            instructions.append(instruction)
            rest = rest.dropFirst(instruction.length)
            address = instruction.next
        }
        return instructions
    }

    static func undecoded(
        _ bytes: [UInt8], _ validity: Instruction.Validity, _ address: UInt64, _ mode: DecodeMode
    ) -> Instruction {
        Instruction(
            address: address, bytes: bytes, text: validity == .bad ? "(bad)" : "(truncated)", mnemonic: "",
            validity: validity, operandWidth: mode.width, addressWidth: mode.width, mode: mode)
    }

    private func instruction(
        _ raw: ZydisDecodedInstruction, _ operands: UnsafeMutableBufferPointer<ZydisDecodedOperand>,
        _ window: [UInt8], _ address: UInt64, _ mode: DecodeMode, formatted: Bool
    ) -> Instruction {
        let bytes = Array(window.prefix(Int(raw.length)))
        let facts = InstructionFacts(raw, UnsafeBufferPointer(operands), address: address, mode: mode)
        var result = Instruction(
            address: address, bytes: bytes, text: "", mnemonic: facts.mnemonic, validity: .valid,
            operandWidth: Int(raw.operand_width), addressWidth: Int(raw.address_width), mode: mode)
        result.traits = facts.traits
        result.unit = facts.unit
        result.interruptVector = facts.interruptVector
        result.target = facts.target
        result.condition = facts.condition
        result.memory = facts.memory
        if formatted { result.text = text(raw, operands, address, facts) }
        return result
    }

    private func text(
        _ raw: ZydisDecodedInstruction, _ operands: UnsafeMutableBufferPointer<ZydisDecodedOperand>,
        _ address: UInt64, _ facts: InstructionFacts
    ) -> String {
        if let relative = facts.relative,
            // SAFETY: only initialised operands are in the buffer, which is lent for this call.
            let index = unsafe operands.firstIndex(where: { $0.type == ZYDIS_OPERAND_TYPE_IMMEDIATE })
        {
            // Zydis 4.0 wraps the printed target at 16 bits only: it is told a distance that needs no wrap.
            // SAFETY: as above; the index is one of the buffer's.
            unsafe operands[index].imm.value.s = Int64(
                bitPattern: relative &- address &- UInt64(raw.length))
        }
        let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer -> String in
            // SAFETY: `raw` and `operands` come from one successful decode; at most `count` bytes are written,
            // the last of them a NUL, and only then is the text read.
            unsafe withUnsafePointer(to: raw) { raw in
                let status = unsafe czydis_format(
                    ZYDIS_FORMATTER_STYLE_INTEL, raw, operands.baseAddress, address, buffer.baseAddress,
                    buffer.count)
                guard status == 0, let start = buffer.baseAddress else { return facts.mnemonic }
                return unsafe String(cString: start)
            }
        }
        // Zydis writes the far return as `ret far`; the field says `retf`.
        guard facts.traits.isSuperset(of: [.return, .far]), text.hasPrefix("ret far") else { return text }
        return "retf" + text.dropFirst("ret far".count)
    }
}
