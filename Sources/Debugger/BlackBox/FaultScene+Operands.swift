import Disassembler
import X86

/// What depends on an instruction's registers: the divisor of DIV, the selector that a segment register gets.
extension FaultScene {
    /// The opcode behind the prefixes, what follows it, and the prefixes that matter.
    struct Opcode {
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
    }

    /// The register of a ModRM byte's r/m field; nil where that is memory.
    private func register(_ modrm: UInt8, rex: UInt8, width: Int) -> UInt64? {
        guard modrm >> 6 == 3 else { return nil }
        let number = modrm & 7 | (rex & 1) << 3
        if width == 8, rex == 0, number >= 4 {
            return value(of: number & 3) >> 8 & 0xFF
        }
        return value(of: number) & Self.mask(width)
    }

    private static func mask(_ width: Int) -> UInt64 { width >= 64 ? .max : 1 << UInt64(width) - 1 }

    /// A register by the number that instructions have for it.
    private func value(of number: UInt8) -> UInt64 {
        let all: [UInt64] = [
            registers.rax, registers.rcx, registers.rdx, registers.rbx, registers.rsp, registers.rbp,
            registers.rsi, registers.rdi, registers.r8, registers.r9, registers.r10, registers.r11,
            registers.r12, registers.r13, registers.r14, registers.r15,
        ]
        return all[Int(number & 15)]
    }

    /// The operand of a ModRM byte: a register, or what memory holds.
    private func operand(_ instruction: Instruction, _ opcode: Opcode, width: Int) -> UInt64? {
        guard let modrm = opcode.byte(1) else { return nil }
        if let value = register(modrm, rex: opcode.rex, width: width) { return value }
        guard let memory = instruction.memory.first(where: { !$0.isImplicit }),
            let linear = memory.linear(in: file)
        else { return nil }
        return view.word(linear, size: width / 8)
    }

    func divideFault(_ instruction: Instruction) -> First? {
        guard ["div", "idiv"].contains(instruction.mnemonic) else { return nil }
        let opcode = Opcode(instruction)
        guard let code = opcode.byte(0), code & 0xFE == 0xF6 else { return nil }
        let width = code == 0xF6 ? 8 : instruction.operandWidth
        guard let divisor = operand(instruction, opcode, width: width) else { return nil }
        guard divisor != 0 else {
            return First(link: FaultChain.Link(vector: 0, errorCode: nil, cause: .divideByZero))
        }
        // The quotient fits if the upper half is below the divisor. IDIV's bounds differ: it is left out.
        guard instruction.mnemonic == "div" else { return nil }
        let upper = width == 8 ? registers.rax >> 8 & 0xFF : registers.rdx & Self.mask(width)
        guard upper >= divisor else { return nil }
        return First(link: FaultChain.Link(vector: 0, errorCode: nil, cause: .divideOverflow))
    }

    /// A far branch, or a load of a segment register.
    func selectorFault(_ instruction: Instruction) -> First? {
        guard special.cr0.contains(.pe), !delivery.isVirtual else { return nil }
        if case .far(let place)? = instruction.target { return codeFault(place.selector) }
        let slot = UInt64(instruction.operandWidth / 8)
        let isFarReturn = instruction.traits.isSuperset(of: [.return, .far])
        if isFarReturn || instruction.traits.contains(.interruptReturn) {
            let pointer = special.linear(.ss, registers.rsp &+ slot, mode: mode)
            // An IRET in a nested task takes the TSS's link.
            guard isFarReturn || !registers.rflags.contains(.nt), let word = view.word(pointer, size: 2)
            else { return nil }
            return codeFault(UInt16(truncatingIfNeeded: word))
        }
        if instruction.traits.isSuperset(of: [.far, .indirect]),
            let memory = instruction.memory.first(where: { !$0.isImplicit }),
            let linear = memory.linear(in: file),
            let word = view.word(view.cut(linear &+ slot), size: 2)
        {
            return codeFault(UInt16(truncatingIfNeeded: word))
        }
        let opcode = Opcode(instruction)
        guard opcode.byte(0) == 0x8E, let modrm = opcode.byte(1),
            let value = operand(instruction, opcode, width: 16)
        else { return nil }
        return dataFault(UInt16(truncatingIfNeeded: value), isStack: modrm >> 3 & 7 == 2)
    }

    private func selectorFault(
        _ vector: UInt8, _ selector: UInt16, _ problem: FaultCause.SelectorProblem
    ) -> First {
        let code = problem == .null ? 0 : UInt32(selector & ~3)
        return First(
            link: FaultChain.Link(
                vector: vector, errorCode: code, cause: .selector(selector, problem)))
    }

    private func codeFault(_ selector: UInt16) -> First? {
        switch delivery.descriptor(selector) {
        case .segment(let segment):
            // A gate or a TSS: where that leads is not followed.
            guard segment.attributes.isCodeOrData else { return nil }
            guard segment.attributes.isCode else { return selectorFault(13, selector, .notCode) }
            guard segment.attributes.isPresent else { return selectorFault(11, selector, .notPresent) }
            if delivery.isLong, segment.attributes.isLong, segment.attributes.isBig {
                return selectorFault(13, selector, .notLong)
            }
            return nil
        case .problem(let problem): return selectorFault(13, selector, problem)
        case .outcome(.faults(let link)): return First(link: link)
        case .outcome: return nil
        }
    }

    private func dataFault(_ selector: UInt16, isStack: Bool) -> First? {
        switch delivery.descriptor(selector) {
        case .segment(let segment):
            let attributes = segment.attributes
            let fits = isStack ? attributes.isWritableData : attributes.isCodeOrData && attributes.isReadable
            guard fits else { return selectorFault(13, selector, .notData) }
            guard attributes.isPresent else {
                return selectorFault(isStack ? 12 : 11, selector, .notPresent)
            }
            return nil
        case .problem(.null):
            return isStack && mode != .long64 ? selectorFault(13, selector, .null) : nil
        case .problem(let problem): return selectorFault(13, selector, problem)
        case .outcome(.faults(let link)): return First(link: link)
        case .outcome: return nil
        }
    }
}
