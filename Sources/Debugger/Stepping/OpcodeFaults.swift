import DebugTarget
import X86

/// The exceptions that an instruction can raise, by its first bytes. Found without a decoder, because it is asked before
/// every step; where the bytes leave it open, all that may be are named.
///
/// Source: SDM volume 2, the lists of exceptions of each instruction; volume 3A, 6.15.
struct OpcodeFaults: OptionSet, Sendable, Hashable {
    var rawValue: UInt16
    init(rawValue: UInt16) { self.rawValue = rawValue }
    /// DIV, IDIV, AAM: #DE.
    static let divides = OpcodeFaults(rawValue: 1 << 0)
    /// BOUND: #BR.
    static let bounds = OpcodeFaults(rawValue: 1 << 1)
    /// No instruction, one that not every processor has, or a LOCK that may not be: #UD.
    static let undefined = OpcodeFaults(rawValue: 1 << 2)
    /// x87: #NM, #MF.
    static let floats = OpcodeFaults(rawValue: 1 << 3)
    /// MMX, SSE and AVX: #NM, #MF, #XM, #UD.
    static let vectors = OpcodeFaults(rawValue: 1 << 4)
    /// An access to memory: #GP, #SS, #PF, #AC.
    static let memory = OpcodeFaults(rawValue: 1 << 5)
    /// PUSH, POP, CALL, RET and their like: #SS, #PF, #AC.
    static let stack = OpcodeFaults(rawValue: 1 << 6)
    /// A segment register is loaded, also by a far transfer: #GP, #NP, #SS, #TS.
    static let segment = OpcodeFaults(rawValue: 1 << 7)
    /// Not at every privilege, or not with every operand: #GP.
    static let privileged = OpcodeFaults(rawValue: 1 << 8)

    /// - Parameters:
    ///   - bytes: the instruction's first bytes, the first in bits 0-7.
    ///   - count: how many of them are known, 8 at most.
    init(bytes: UInt64, count: Int, isLong: Bool) {
        func byte(_ i: Int) -> UInt8? {
            i < count && i < 8 ? UInt8(truncatingIfNeeded: bytes >> UInt64(i * 8)) : nil
        }
        var place = 0
        var isLocked = false
        while let next = byte(place), Self.isPrefix(next) || isLong && next & 0xF0 == 0x40 {
            isLocked = isLocked || next == 0xF0
            place += 1
        }
        guard let opcode = byte(place) else {
            self = [.undefined, .privileged, .memory]
            return
        }
        let modrm = byte(place + 1)
        self =
            opcode == 0x0F
            ? Self.ofSecondMap(modrm, byte(place + 2)) : Self.ofFirstMap(opcode, modrm, isLong)
        if isLocked { insert(.undefined) }
    }

    /// Of ModRM: memory, if it names some; where it is not known it may.
    private static func operand(_ modrm: UInt8?) -> OpcodeFaults {
        modrm.map { $0 >= 0xC0 } ?? false ? [] : .memory
    }

    private static func ofFirstMap(_ opcode: UInt8, _ modrm: UInt8?, _ isLong: Bool) -> OpcodeFaults {
        let field = modrm.map { $0 >> 3 & 7 }
        switch opcode {
        // PUSH and POP of segment registers, DAA and its like.
        case 0x06, 0x0E, 0x16, 0x1E: return isLong ? .undefined : .stack
        case 0x07, 0x17, 0x1F: return isLong ? .undefined : [.stack, .segment]
        case 0x27, 0x2F, 0x37, 0x3F: return isLong ? .undefined : []
        case 0x00...0x3F: return opcode & 7 < 4 ? operand(modrm) : []
        case 0x40...0x4F: return []
        case 0x50...0x5F, 0x68, 0x6A: return .stack
        case 0x60, 0x61: return isLong ? .undefined : .stack
        // BOUND, or EVEX.
        case 0x62:
            return isLong ? [.vectors, .memory, .undefined] : [.bounds, .memory, .vectors, .undefined]
        case 0x63, 0x69, 0x6B: return operand(modrm)
        case 0x6C...0x6F: return [.memory, .privileged]
        case 0x70...0x7F, 0xE0...0xE3, 0xEB, 0xE9: return .privileged
        case 0x8D: return operand(modrm).isEmpty ? .undefined : []
        case 0x8C: return operand(modrm).union(field.map { $0 > 5 } ?? true ? .undefined : [])
        // Not CS.
        case 0x8E:
            return operand(modrm).union(
                field.map { $0 == 1 || $0 > 5 } ?? true ? [.segment, .undefined] : .segment)
        // POP, or XOP.
        case 0x8F: return operand(modrm).union(field == 0 ? .stack : [.stack, .undefined, .vectors])
        case 0x80...0x8B: return operand(modrm).union(isLong && opcode == 0x82 ? .undefined : [])
        case 0x90...0x99, 0x9E, 0x9F, 0xA8, 0xA9, 0xB0...0xBF, 0xD6, 0xF5, 0xF8, 0xF9, 0xFC, 0xFD: return []
        case 0x9A: return isLong ? .undefined : [.stack, .segment, .privileged]
        case 0x9B: return .floats
        case 0x9C, 0x9D: return [.stack, .privileged]
        case 0xA0...0xA7, 0xAA...0xAF, 0xD7: return .memory
        case 0xC0, 0xC1, 0xD0...0xD3: return operand(modrm)
        case 0xC6, 0xC7: return operand(modrm).union(field == 0 ? [] : .undefined)
        case 0xC2, 0xC3, 0xC8, 0xC9, 0xE8: return [.stack, .privileged]
        // LES and LDS, or VEX.
        case 0xC4, 0xC5: return [.memory, .segment, .vectors, .undefined]
        case 0xCA, 0xCB, 0xCF: return [.stack, .segment, .privileged]
        // INT3, INT n, INTO: at the gate.
        case 0xCC, 0xCD, 0xCE: return [.privileged, .segment, .stack]
        case 0xD4: return isLong ? .undefined : .divides
        case 0xD5: return isLong ? .undefined : []
        case 0xD8...0xDF: return operand(modrm).union(.floats)
        case 0xE4...0xE7, 0xEC...0xEF, 0xF1, 0xF4, 0xFA, 0xFB: return .privileged
        case 0xEA: return isLong ? .undefined : [.segment, .privileged]
        case 0xF6, 0xF7:
            return operand(modrm).union(field.map { $0 >= 6 } ?? true ? .divides : [])
        case 0xFE: return operand(modrm).union(field.map { $0 > 1 } ?? true ? .undefined : [])
        case 0xFF:
            switch field {
            case 0, 1: return operand(modrm)
            case 2, 6: return operand(modrm).union([.stack, .privileged])
            case 4: return operand(modrm).union(.privileged)
            default: return [.memory, .stack, .segment, .privileged, .undefined]
            }
        default: return [.undefined, .privileged, .memory]
        }
    }

    /// The opcodes after 0F.
    private static func ofSecondMap(_ opcode: UInt8?, _ modrm: UInt8?) -> OpcodeFaults {
        guard let opcode else { return [.undefined, .privileged, .memory] }
        return switch opcode {
        // Jcc, CPUID, BSWAP.
        case 0x80...0x8F: .privileged
        case 0xA2, 0xC8...0xCF: []
        // SETcc, BT and its like, SHLD, IMUL, MOVZX, MOVSX, XADD, CMPXCHG.
        case 0x90...0x9F, 0xA3...0xA5, 0xAB...0xAD, 0xAF...0xB1, 0xB3, 0xB6, 0xB7, 0xBA...0xC1, 0x40...0x4F:
            operand(modrm).union(opcode == 0xBA ? .undefined : [])
        case 0xA0, 0xA8: .stack
        case 0xA1, 0xA9: [.stack, .segment]
        case 0xB2, 0xB4, 0xB5: [.memory, .segment, .undefined]
        // System instructions.
        case 0x00...0x0E, 0x20...0x23, 0x30...0x36: [.undefined, .privileged, .memory, .segment]
        case 0x10...0x1F, 0x28...0x2F, 0x50...0x7F, 0xAE, 0xC2...0xC6, 0xD0...0xFE, 0x38, 0x3A:
            [.vectors, .undefined, .memory, .privileged]
        default: [.undefined, .privileged, .memory]
        }
    }

    /// Source: SDM volume 2A, 2.1.1.
    private static func isPrefix(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3: true
        default: false
        }
    }

    /// The vectors, the likeliest first.
    func vectors(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> [UInt8] {
        var vectors: [UInt8] = []
        let isProtected = special.cr0.contains(.pe)
        let isPaging = special.cr0.contains(.pg)
        if contains(.divides) { vectors.append(0) }
        if contains(.bounds) { vectors.append(5) }
        if contains(.undefined) || contains(.vectors) { vectors.append(6) }
        if !isDisjoint(with: [.floats, .vectors]) { vectors.append(7) }
        // With paging the instruction itself may not be there.
        if isPaging { vectors.append(14) }
        if !isDisjoint(with: [.memory, .privileged, .segment]) { vectors.append(13) }
        if !isDisjoint(with: [.memory, .stack, .segment]) { vectors.append(12) }
        if contains(.segment), isProtected { vectors += [11, 10] }
        if !isDisjoint(with: [.floats, .vectors]) { vectors.append(16) }
        if contains(.vectors) { vectors.append(19) }
        if special.cr0.contains(.am), registers.rflags.contains(.ac), !isDisjoint(with: [.memory, .stack]) {
            vectors.append(17)
        }
        return vectors
    }

    /// Where the exceptions lead to, as far as that can be read: linear addresses of handlers, the likeliest first, each
    /// once. A gate that cannot be gone through leads to #GP or #NP, and from there to #DF.
    ///
    /// - Parameter pc: no handler of its own: the instruction would fire before it is executed.
    func handlers(_ registers: GeneralRegisters, _ view: LinearMemory, at pc: UInt64) -> [UInt64] {
        var vectors = vectors(registers, view.special)
        var handlers: [UInt64] = []
        var next = 0
        while next < vectors.count {
            if let handler = InterruptEntry.linear(vectors[next], view) {
                if handler != pc, !handlers.contains(handler) { handlers.append(handler) }
            } else {
                for further in [13, 11, 8] as [UInt8] where !vectors.contains(further) {
                    vectors.append(further)
                }
            }
            next += 1
        }
        return handlers
    }
}
