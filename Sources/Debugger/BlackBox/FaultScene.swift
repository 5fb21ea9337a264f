import DebugTarget
import Disassembler
import KVMCore
import X86

/// The state that a fault is looked for in.
struct FaultScene {
    let registers: GeneralRegisters
    let view: LinearMemory
    /// What the kernel had on its way into the guest.
    var events: VCPUEvents?
    /// The bytes at the instruction where they are known from before; else memory is read.
    var bytes: [UInt8]?
    var facts = FaultFacts()

    var special: SpecialRegisters { view.special }
    var delivery: InterruptDelivery { InterruptDelivery(registers: registers, view: view) }
    var mode: CPUMode { CPUMode(registers, special) }
    var file: RegisterFile { RegisterFile(general: registers, special: special) }
    var pc: UInt64 { VCPUSnapshot.pc(registers, special) }
    /// Real mode has none, and KVM's cached SS may say otherwise there.
    var cpl: UInt8 { special.cr0.contains(.pe) ? delivery.cpl : 0 }

    /// The instruction that the vCPU stands at; nil where none of its bytes can be read.
    var instruction: Instruction? {
        let code = bytes ?? Array(view.read(pc, count: Instruction.maximumLength, .linear(pc)).leading)
        guard !code.isEmpty else { return nil }
        return Disassembler().decode(code, at: registers.rip, DecodeMode(registers, special))
    }
}

/// What a fault may come of that general and special registers do not hold. Nil: not known, and not looked at.
struct FaultFacts: Sendable, Hashable {
    /// The guest's own.
    var debug: DebugRegisters?
    var fpu: FPURegisters?
    var xcr0: UInt64?
    var pkru: UInt32?
    /// By index: of ``indexes``, those that could be read.
    var msrs: [UInt32: UInt64] = [:]

    static let sysenterCS: UInt32 = 0x174
    /// IA32_U_CET and IA32_S_CET.
    static let userCET: UInt32 = 0x6A0
    static let supervisorCET: UInt32 = 0x6A2
    static let indexes = [sysenterCS, userCET, supervisorCET]
}

extension FaultScene {
    /// An exception, as ``FaultChain`` begins with it.
    struct First: Hashable {
        var link: FaultChain.Link
        /// By INT n or its kin.
        var isSoftware = false
    }

    /// - Parameter code: dropped in real mode, where nothing pushes it.
    func first(_ vector: UInt8, _ code: UInt32?, _ cause: FaultCause) -> First {
        First(
            link: FaultChain.Link(
                vector: vector, errorCode: special.cr0.contains(.pe) ? code : nil, cause: cause))
    }

    /// The exception that the instruction raises, or the interrupt that came before it.
    ///
    /// In the order in which a processor finds them: SDM volume 3A, table 6-2.
    func firstFault() -> First? {
        if let fault = codeBreakpoint() ?? fetchFault(at: registers.rip) { return fault }
        guard let instruction else { return nil }
        switch instruction.validity {
        case .valid: break
        case .truncated:
            return fetchFault(at: registers.rip &+ UInt64(instruction.length))
                ?? fetchFault(at: registers.rip &+ UInt64(Instruction.maximumLength - 1))
        case .bad: return undecodedFault()
        }
        if let fault = fetchFault(at: registers.rip &+ UInt64(instruction.length - 1)) { return fault }
        let finders: [(Instruction) -> First?] = [
            availabilityFault, privilegeFault, softwareInterrupt, memoryFault, arithmeticFault,
            branchFault, selectorFault, systemFault,
        ]
        for find in finders {
            if let fault = find(instruction) { return fault }
        }
        if let fault = externalInterrupt() { return fault }
        if registers.rflags.contains(.tf) { return first(1, nil, .singleStep) }
        return likelyFault(instruction)
    }

    // MARK: interrupts

    private func softwareInterrupt(_ instruction: Instruction) -> First? {
        guard let vector = instruction.interruptVector else { return nil }
        if vector == 4, instruction.mnemonic == "into", !registers.rflags.contains(.of) { return nil }
        // INT3, INTO and INT1 do not look at IOPL in virtual-8086 mode (SDM volume 3A, 21.3.3).
        if mode == .virtual8086, instruction.mnemonic == "int", registers.rflags.iopl < 3,
            !special.cr4.contains(.vme)
        {
            return first(13, 0, .virtualPrivilege(iopl: registers.rflags.iopl))
        }
        // INT1 passes a gate of any DPL (SDM volume 3A, 6.12.1.2).
        return First(
            link: FaultChain.Link(vector: vector, errorCode: nil, cause: .softwareInterrupt),
            isSoftware: instruction.mnemonic != "int1")
    }

    private func externalInterrupt() -> First? {
        var vector: UInt8?
        if let events, events.interruptInjected { vector = events.interruptVector }
        if let events, events.nmiInjected { vector = 2 }
        if let events, events.exceptionInjected || events.exceptionPending {
            let code = events.exceptionHasErrorCode ? events.exceptionErrorCode : nil
            return First(
                link: FaultChain.Link(vector: events.exceptionVector, errorCode: code, cause: nil))
        }
        vector = vector ?? (0...255).first { special.interruptBitmap[$0] }
        return vector.map { First(link: FaultChain.Link(vector: $0, errorCode: nil, cause: .external)) }
    }

    /// An execution breakpoint of the guest's own. Source: SDM volume 3B, 17.2.4 and 17.3.1.1.
    private func codeBreakpoint() -> First? {
        guard let debug = facts.debug, !registers.rflags.contains(.rf) else { return nil }
        let addresses = [debug.dr0, debug.dr1, debug.dr2, debug.dr3]
        let hit = addresses.indices.first { number in
            debug.dr7 >> UInt64(number * 2) & 3 != 0 && debug.dr7 >> UInt64(16 + number * 4) & 3 == 0
                && addresses[number] == pc
        }
        return hit.map { first(1, nil, .debugRegister($0)) }
    }

    // MARK: bytes that are no instruction

    private func undecodedFault() -> First? {
        let code = Array(view.read(pc, count: 2 * Instruction.maximumLength, .linear(pc)).leading)
        let prefixes: Set<UInt8> = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3]
        let count = code.prefix { prefixes.contains($0) }.count
        let decodeMode = DecodeMode(registers, special)
        func decodes(_ bytes: [UInt8], _ mode: DecodeMode) -> Instruction? {
            let found = Disassembler().decode(bytes, at: registers.rip, mode)
            return found.validity == .valid ? found : nil
        }
        // Each prefix counts for the length and, once there, for the meaning no more.
        if count > 1 {
            let needed = Array(Set(code[..<count])) + code[count...]
            let dropped = count - Set(code[..<count]).count
            let length = decodes(needed, decodeMode)?.length ?? Instruction.maximumLength
            if dropped + length > Instruction.maximumLength { return first(13, 0, .instructionTooLong) }
        }
        if code[..<count].contains(0xF0), decodes(code.filter { $0 != 0xF0 }, decodeMode) != nil {
            return first(6, nil, .lockPrefix)
        }
        switch mode {
        case .real, .virtual8086:
            if let other = decodes(code, .protected16) {
                let isEntry = ["sysenter", "sysexit"].contains(other.mnemonic)
                return first(isEntry ? 13 : 6, isEntry ? 0 : nil, .wrongMode(.protectedOnly))
            }
        case .long64:
            if decodes(code, .protected32) != nil { return first(6, nil, .wrongMode(.notBits64)) }
        case .protected16, .protected32, .compatibility16, .compatibility32: break
        }
        if mode != .long64, decodes(code, .long64).map({ !$0.isREXOnly }) ?? false {
            return first(6, nil, .wrongMode(.bits64Only))
        }
        return first(6, nil, .undefinedInstruction)
    }
}

extension Instruction {
    /// Its first byte is a REX prefix, which in other modes is an instruction.
    fileprivate var isREXOnly: Bool { bytes.first.map { $0 & 0xF0 == 0x40 } ?? true }
}

/// The opcode after the prefixes, and the prefixes that matter.
struct FaultOpcode {
    var bytes: ArraySlice<UInt8>
    var rex: UInt8 = 0

    init(_ instruction: Instruction) {
        bytes = instruction.bytes[...]
        let prefixes: Set<UInt8> = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3]
        while let next = bytes.first {
            if instruction.mode.width == 64, next & 0xF0 == 0x40 {
                rex = next
            } else if !prefixes.contains(next) {
                break
            }
            bytes = bytes.dropFirst()
        }
    }

    func byte(_ index: Int) -> UInt8? {
        bytes.count > index ? bytes[bytes.startIndex + index] : nil
    }

    /// The bytes are these, with this ModRM.reg after them.
    func matches(_ opcode: [UInt8], reg: UInt8? = nil) -> Bool {
        guard bytes.starts(with: opcode) else { return false }
        guard let reg else { return true }
        return byte(opcode.count).map { $0 >> 3 & 7 == reg } ?? false
    }

    /// The register that ModRM.reg of an opcode of two bytes names.
    var register: UInt8? { byte(2).map { $0 >> 3 & 7 | (rex & 4) << 1 } }
}

/// An instruction's operands, as values.
extension FaultScene {
    static func mask(_ width: Int) -> UInt64 { width >= 64 ? .max : 1 << UInt64(width) - 1 }

    /// A register by the number that instructions have for it.
    func value(of number: UInt8) -> UInt64 {
        GeneralRegister(rawValue: number & 15).map { registers[$0] } ?? 0
    }

    /// The register of a ModRM byte's r/m field; nil where that is memory.
    private func register(_ modrm: UInt8, rex: UInt8, width: Int) -> UInt64? {
        guard modrm >> 6 == 3 else { return nil }
        let number = modrm & 7 | (rex & 1) << 3
        if width == 8, rex == 0, number >= 4 { return value(of: number & 3) >> 8 & 0xFF }
        return value(of: number) & Self.mask(width)
    }

    /// The operand of the ModRM byte at `index` after the prefixes: a register, or what memory holds.
    func operand(_ instruction: Instruction, width: Int, modrm index: Int = 1) -> UInt64? {
        let opcode = FaultOpcode(instruction)
        guard let modrm = opcode.byte(index) else { return nil }
        if let value = register(modrm, rex: opcode.rex, width: width) { return value }
        return word(of: instruction, at: 0, size: width / 8)
    }

    /// So many bytes of the operand in memory, from an offset on.
    func word(of instruction: Instruction, at offset: UInt64, size: Int) -> UInt64? {
        guard let memory = instruction.memory.first(where: { !$0.isImplicit }),
            let linear = memory.linear(in: file)
        else { return nil }
        return view.word(view.cut(linear &+ offset), size: size)
    }

    /// So many bytes of the stack, from an offset above the stack pointer on.
    func stackWord(_ offset: UInt64, size: Int) -> UInt64? {
        view.word(stackLinear(offset), size: size)
    }

    private func stackLinear(_ offset: UInt64) -> UInt64 {
        special.linear(.ss, stackOffset(offset), mode: mode)
    }

    /// The stack pointer and an offset, as wide as the stack is.
    func stackOffset(_ offset: UInt64) -> UInt64 {
        let width = mode == .long64 ? 64 : special.ss.attributes.isBig ? 32 : 16
        return (registers.rsp &+ offset) & Self.mask(width)
    }
}
