import X86

/// An instruction of the table's, taken apart: prefixes, opcode, operand.
///
/// Source: SDM volume 2A, chapter 2.
struct AssistInstruction {
    var opcode: UInt16
    /// In bytes: 2, 4 or 8.
    var operandSize: Int
    /// In bytes.
    var addressSize: Int
    var isLocked = false
    /// F2 or F3, the last of them.
    var repeatPrefix: UInt8?
    var rex: UInt8 = 0
    var segment: SegmentName?
    var modRM: UInt8?
    /// Of a memory operand.
    var address: (segment: SegmentName, offset: UInt64)?
    var immediate: UInt16 = 0
    var length = 0

    /// `reg` of ModRM with REX.R.
    var register: GeneralRegister { .numbered((modRM ?? 0) >> 3 & 7 | (rex & 4) << 1) }
    /// `rm` of ModRM with REX.B.
    var operand: GeneralRegister { .numbered((modRM ?? 0) & 7 | (rex & 1) << 3) }
    var isRegister: Bool { (modRM ?? 0) >> 6 == 3 }
    var extensionNumber: UInt8 { (modRM ?? 0) >> 3 & 7 }

    /// Nil for what the table does not have, or where bytes are missing.
    init?(_ code: [UInt8], _ state: AssistState) {
        var reader = Reader(code: code)
        let isLong = state.mode == .long64
        let width = state.mode.codeWidth(cs: state.special.cs.attributes)
        var hasOperandPrefix = false
        var hasAddressPrefix = false
        var byte: UInt8
        prefixes: while true {
            guard let next = reader.byte() else { return nil }
            byte = next
            switch next {
            case 0x66: hasOperandPrefix = true
            case 0x67: hasAddressPrefix = true
            case 0xF0: isLocked = true
            case 0xF2, 0xF3: repeatPrefix = next
            case 0x2E: segment = .cs
            case 0x36: segment = .ss
            case 0x3E: segment = .ds
            case 0x26: segment = .es
            case 0x64: segment = .fs
            case 0x65: segment = .gs
            case 0x40...0x4F where isLong:
                rex = next
                // It counts only right before the opcode.
                guard let after = reader.peek else { return nil }
                if Self.isPrefix(after) { rex = 0 }
            default: break prefixes
            }
        }
        switch width {
        case 16: operandSize = hasOperandPrefix ? 4 : 2
        case 32: operandSize = hasOperandPrefix ? 2 : 4
        default: operandSize = rex & 8 != 0 ? 8 : hasOperandPrefix ? 2 : 4
        }
        switch width {
        case 16: addressSize = hasAddressPrefix ? 4 : 2
        case 32: addressSize = hasAddressPrefix ? 2 : 4
        default: addressSize = hasAddressPrefix ? 4 : 8
        }
        opcode = UInt16(byte)
        if byte == 0x0F {
            guard let second = reader.byte() else { return nil }
            opcode = 0x0F00 | UInt16(second)
        }
        switch opcode {
        case 0x27, 0x2F, 0x37, 0x3F, 0x9B, 0xCB, 0xCC, 0xCE, 0xCF: break
        case 0xCA:
            guard let count = reader.word() else { return nil }
            immediate = count
        case 0xCD:
            guard let vector = reader.byte() else { return nil }
            immediate = UInt16(vector)
        case 0x0F01, 0x0F02, 0x0F03, 0x0F0D, 0x0F18...0x0F1F, 0x0FB8, 0x0FC7:
            guard readOperand(&reader, state) else { return nil }
        default: return nil
        }
        length = reader.place
    }

    private static func isPrefix(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x40...0x4F: true
        default: false
        }
    }

    /// ModRM, SIB and displacement. Tables 2-1 to 2-3.
    private mutating func readOperand(_ reader: inout Reader, _ state: AssistState) -> Bool {
        guard let modRM = reader.byte() else { return false }
        self.modRM = modRM
        let mod = modRM >> 6
        guard mod != 3 else { return true }
        return addressSize == 2
            ? readAddress16(&reader, mod, modRM & 7, state) : readAddress(&reader, mod, modRM & 7, state)
    }

    private mutating func readAddress16(
        _ reader: inout Reader, _ mod: UInt8, _ rm: UInt8, _ state: AssistState
    ) -> Bool {
        let general = state.general
        var base: UInt64
        var usesStack = false
        switch rm {
        case 0: base = general.rbx &+ general.rsi
        case 1: base = general.rbx &+ general.rdi
        case 2: (base, usesStack) = (general.rbp &+ general.rsi, true)
        case 3: (base, usesStack) = (general.rbp &+ general.rdi, true)
        case 4: base = general.rsi
        case 5: base = general.rdi
        case 6 where mod == 0: base = 0
        case 6: (base, usesStack) = (general.rbp, true)
        default: base = general.rbx
        }
        switch mod {
        case 0 where rm == 6, 2:
            guard let displacement = reader.word() else { return false }
            base = base &+ UInt64(displacement)
        case 1:
            guard let displacement = reader.byte() else { return false }
            base = base &+ UInt64(bitPattern: Int64(Int8(bitPattern: displacement)))
        default: break
        }
        address = (segment ?? (usesStack ? .ss : .ds), base & 0xFFFF)
        return true
    }

    private mutating func readAddress(
        _ reader: inout Reader, _ mod: UInt8, _ rm: UInt8, _ state: AssistState
    ) -> Bool {
        var base: UInt64 = 0
        var usesStack = false
        var isRelative = false
        var hasLongDisplacement = mod == 2
        if rm == 4 {
            guard let sib = reader.byte() else { return false }
            let index = sib >> 3 & 7 | (rex & 2) << 2
            if index != 4 { base = state.general[.numbered(index)] << UInt64(sib >> 6) }
            if sib & 7 == 5, mod == 0 {
                hasLongDisplacement = true
            } else {
                base = base &+ state.general[.numbered(sib & 7 | (rex & 1) << 3)]
                usesStack = rex & 1 == 0 && (sib & 7 == 4 || sib & 7 == 5)
            }
        } else if rm == 5, mod == 0 {
            hasLongDisplacement = true
            isRelative = state.mode == .long64
        } else {
            base = state.general[.numbered(rm | (rex & 1) << 3)]
            usesStack = rm == 5 && rex & 1 == 0
        }
        if hasLongDisplacement {
            guard let displacement = reader.long() else { return false }
            base = base &+ UInt64(bitPattern: Int64(Int32(bitPattern: displacement)))
        } else if mod == 1 {
            guard let displacement = reader.byte() else { return false }
            base = base &+ UInt64(bitPattern: Int64(Int8(bitPattern: displacement)))
        }
        // From the next instruction on: nothing follows the operand of those in the table.
        if isRelative { base = base &+ state.general.rip &+ UInt64(reader.place) }
        if addressSize == 4 { base &= 0xFFFF_FFFF }
        address = (segment ?? (usesStack ? .ss : .ds), base)
        return true
    }

    /// Bytes, one after the other.
    private struct Reader {
        let code: [UInt8]
        var place = 0

        var peek: UInt8? { place < code.count ? code[place] : nil }

        mutating func byte() -> UInt8? {
            guard let byte = peek else { return nil }
            place += 1
            return byte
        }

        mutating func word() -> UInt16? {
            guard let value = code.word(at: place) else { return nil }
            place += 2
            return value
        }

        mutating func long() -> UInt32? {
            guard let value = code.long(at: place) else { return nil }
            place += 4
            return value
        }
    }
}

extension GeneralRegister {
    /// By the number that instructions encode, 0 to 15.
    static func numbered(_ number: UInt8) -> GeneralRegister {
        GeneralRegister(rawValue: number & 15) ?? .rax
    }
}
