import Disassembler
import X86

/// Selectors that an instruction loads into segment registers, LDTR and TR. Source: SDM volume 2, MOV, POP, LDS, LLDT
/// and LTR; volume 3A, 5.6 and 5.7.
extension FaultScene {
    /// What an instruction loads, by its opcode.
    private enum Load {
        case data(UInt16)
        case stack(UInt16)
        case localTable(UInt16)
        case task(UInt16)
    }

    func selectorFault(_ instruction: Instruction) -> First? {
        if let fault = farTransferFault(instruction) { return fault }
        guard special.cr0.contains(.pe), !delivery.isVirtual, let load = load(instruction) else { return nil }
        switch load {
        case .data(let selector): return dataFault(selector)
        case .stack(let selector): return stackFault(selector)
        case .localTable(let selector): return localTableFault(selector)
        case .task(let selector): return taskFault(selector)
        }
    }

    private func load(_ instruction: Instruction) -> Load? {
        let opcode = FaultOpcode(instruction)
        let slot = instruction.operandWidth / 8
        func selector(_ value: UInt64?) -> UInt16? { value.map { UInt16(truncatingIfNeeded: $0) } }
        func load(_ number: UInt8, _ value: UInt64?) -> Load? {
            selector(value).map { number == 2 ? .stack($0) : .data($0) }
        }
        if opcode.byte(0) == 0x8E, let modrm = opcode.byte(1) {
            return load(modrm >> 3 & 7, operand(instruction, width: 16))
        }
        if opcode.matches([0x0F, 0x00], reg: 2) {
            return selector(operand(instruction, width: 16, modrm: 2)).map { .localTable($0) }
        }
        if opcode.matches([0x0F, 0x00], reg: 3) {
            return selector(operand(instruction, width: 16, modrm: 2)).map { .task($0) }
        }
        switch (opcode.byte(0), opcode.byte(1)) {
        case (0x07, _), (0x17, _), (0x1F, _):
            return load((opcode.byte(0) ?? 0) >> 3, stackWord(0, size: 2))
        case (0x0F, 0xA1), (0x0F, 0xA9): return load(4, stackWord(0, size: 2))
        case (0xC4, _), (0xC5, _), (0x0F, 0xB4), (0x0F, 0xB5):
            // LES, LDS, LFS, LGS.
            guard ["les", "lds", "lfs", "lgs"].contains(instruction.mnemonic) else { return nil }
            return load(3, word(of: instruction, at: UInt64(slot), size: 2))
        case (0x0F, 0xB2): return load(2, word(of: instruction, at: UInt64(slot), size: 2))
        default: return nil
        }
    }

    // MARK: what a selector names

    enum Named {
        case segment(Segment)
        case fault(First)
        /// The table cannot be read.
        case unknown
    }

    /// - Parameters:
    ///   - vector: of what is wrong with the selector itself: #GP, and #TS where a TSS holds it.
    func find(_ selector: UInt16, vector: UInt8 = 13) -> Named {
        switch delivery.descriptor(selector) {
        case .segment(let segment): .segment(segment)
        case .problem(.null): .fault(selectorFault(vector, selector, .null))
        case .problem(let problem): .fault(selectorFault(vector, selector, problem))
        case .outcome(.faults(let link)): .fault(First(link: link))
        case .outcome: .unknown
        }
    }

    /// What the descriptor that a selector names breaks of `rules`, or what keeps it from being found; nil where nothing
    /// does, or its table cannot be read.
    func check(_ selector: UInt16, vector: UInt8 = 13, _ rules: (Segment) -> First?) -> First? {
        switch find(selector, vector: vector) {
        case .segment(let segment): rules(segment)
        case .fault(let fault): fault
        case .unknown: nil
        }
    }

    func selectorFault(
        _ vector: UInt8, _ selector: UInt16, _ problem: FaultCause.SelectorProblem
    ) -> First {
        first(vector, problem == .null ? 0 : UInt32(selector & ~3), .selector(selector, problem))
    }

    private func dataFault(_ selector: UInt16) -> First? {
        guard selector & ~3 != 0 else { return nil }
        return check(selector) { segment in
            let attributes = segment.attributes
            guard attributes.isCodeOrData, attributes.isReadable else {
                return selectorFault(13, selector, .notData)
            }
            let rpl = UInt8(selector & 3)
            // Conforming code may be read from any ring.
            if !(attributes.isCode && attributes.type & 4 != 0), max(rpl, cpl) > attributes.privilege {
                return selectorFault(
                    13, selector, .descriptorPrivilege(dpl: attributes.privilege, rpl: rpl, cpl: cpl))
            }
            return attributes.isPresent ? nil : selectorFault(11, selector, .notPresent)
        }
    }

    private func stackFault(_ selector: UInt16) -> First? {
        let rpl = UInt8(selector & 3)
        guard selector & ~3 != 0 else {
            return mode == .long64 && cpl < 3 && rpl == cpl ? nil : selectorFault(13, selector, .null)
        }
        return stackSegmentFault(selector, ring: cpl)
    }

    /// A selector that SS gets, in the ring that it is for.
    func stackSegmentFault(_ selector: UInt16, ring: UInt8) -> First? {
        return check(selector) { segment in
            let attributes = segment.attributes
            let rpl = UInt8(selector & 3)
            guard rpl == ring else {
                return selectorFault(13, selector, .requestedPrivilege(rpl: rpl, cpl: ring))
            }
            guard attributes.isWritableData else { return selectorFault(13, selector, .notData) }
            guard attributes.privilege == ring else {
                return selectorFault(
                    13, selector, .descriptorPrivilege(dpl: attributes.privilege, rpl: rpl, cpl: ring))
            }
            return attributes.isPresent ? nil : selectorFault(12, selector, .notPresent)
        }
    }

    private func localTableFault(_ selector: UInt16) -> First? {
        guard selector & ~3 != 0 else { return nil }
        guard selector & 4 == 0 else { return selectorFault(13, selector, .inLocalTable) }
        return check(selector) { segment in
            guard segment.attributes.isLocalTable else { return selectorFault(13, selector, .notLocalTable) }
            return segment.attributes.isPresent ? nil : selectorFault(11, selector, .notPresent)
        }
    }

    private func taskFault(_ selector: UInt16) -> First? {
        guard selector & ~3 != 0 else { return selectorFault(13, selector, .null) }
        guard selector & 4 == 0 else { return selectorFault(13, selector, .inLocalTable) }
        return check(selector) { segment in
            let attributes = segment.attributes
            guard attributes.isTaskState, !delivery.isLong || attributes.type & 8 != 0 else {
                return selectorFault(13, selector, .notTaskState)
            }
            guard attributes.type & 2 == 0 else { return selectorFault(13, selector, .busyTask) }
            return attributes.isPresent ? nil : selectorFault(11, selector, .notPresent)
        }
    }
}
