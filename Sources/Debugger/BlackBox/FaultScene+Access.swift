import DebugTarget
import Disassembler
import X86

/// Faults of fetching the instruction, and of its operands in memory: segments, pages, alignment.
extension FaultScene {
    // MARK: fetching

    func fetchFault(at ip: UInt64) -> First? {
        let isLong = mode == .long64
        let offset = isLong ? ip : ip & 0xFFFF_FFFF
        if !isLong, offset > UInt64(special.cs.limit) {
            return first(13, 0, .codeLimit(offset: offset, limit: special.cs.limit))
        }
        let linear = special.linear(.cs, offset, mode: mode)
        let walk = view.walk(linear)
        if case .nonCanonical = walk.outcome { return first(13, 0, .nonCanonical(linear)) }
        guard let denial = codeDenial(walk) else { return nil }
        // Bit 4 is there with CR4.SMEP or with XD. Source: SDM volume 3A, 4.7.
        let isFetch = special.efer.contains(.nxe) && special.cr4.contains(.pae) || special.cr4.contains(.smep)
        let code = InterruptDelivery.pageError(walk, isWrite: false, isUser: cpl == 3, isFetch: isFetch)
        return first(14, code, .codePage(walk, denial))
    }

    private func codeDenial(_ walk: PageWalk) -> FaultCause.PageDenial? {
        guard special.cr0.contains(.pg) else { return nil }
        switch walk.outcome {
        case .mapped(let mapping):
            if cpl == 3, !mapping.isUser { return .supervisor }
            if cpl != 3, mapping.isUser, special.cr4.contains(.smep) { return .userCode }
            return mapping.isExecutable ? nil : .noExecute
        case .notPresent, .reservedBits: return .unmapped
        case .unreadable, .nonCanonical: return nil
        }
    }

    // MARK: operands

    func memoryFault(_ instruction: Instruction) -> First? {
        // A string instruction whose counter is 0 touches nothing.
        if instruction.traits.isSuperset(of: [.rep, .string]),
            registers.rcx & Self.mask(instruction.addressWidth) == 0
        {
            return nil
        }
        // Hints, long NOPs and INVLPG fault for no address.
        let isHint = ["nop", "invlpg", "cldemote"].contains(instruction.mnemonic)
        if isHint || instruction.mnemonic.hasPrefix("prefetch") { return nil }
        for operand in instruction.memory where !operand.isAddressOnly {
            if let fault = accessFault(operand, instruction) { return fault }
        }
        return nil
    }

    private func accessFault(_ operand: MemoryOperand, _ instruction: Instruction) -> First? {
        guard let offset = operand.offset(in: file) else { return nil }
        let isWrite = operand.isWritten
        if let fault = segmentFault(operand.segment, offset, operand.size, isWrite: isWrite) { return fault }
        let linear = special.linear(operand.segment, offset, mode: mode)
        if let bytes = Self.ownAlignment(of: operand, instruction), linear % bytes != 0 {
            return first(13, 0, .alignment(linear, bytes))
        }
        if let fault = pagesFault(linear, operand.size, isWrite: isWrite, isStack: operand.segment == .ss) {
            return fault
        }
        return alignmentFault(linear, operand.size)
    }

    /// Of the segment alone: what may be done with it, and its limit.
    func segmentFault(_ name: SegmentName, _ offset: UInt64, _ size: Int, isWrite: Bool) -> First? {
        guard mode != .long64 else { return nil }
        let vector: UInt8 = name == .ss ? 12 : 13
        let segment = special[name]
        let attributes = segment.attributes
        if special.cr0.contains(.pe), !delivery.isVirtual {
            // A null selector in SS cannot be, but where a debugger put it.
            if attributes.isUnusable { return first(vector, 0, .unusableSegment(name)) }
            if isWrite, !attributes.isWritableData { return first(13, 0, .readOnlySegment(name)) }
            if !isWrite, !attributes.isReadable { return first(13, 0, .unreadableSegment(name)) }
        }
        let last = offset &+ UInt64(max(size, 1)) - 1
        let limit = UInt64(segment.limit)
        let expandsDown = attributes.isCodeOrData && attributes.type & 0xC == 4
        let top: UInt64 = expandsDown ? (attributes.isBig ? 0xFFFF_FFFF : 0xFFFF) : limit
        guard last > top || expandsDown && offset <= limit else { return nil }
        return first(vector, 0, .segmentLimit(name, offset: offset, limit: segment.limit))
    }

    /// Of all pages that the bytes lie in.
    func pagesFault(_ linear: UInt64, _ size: Int, isWrite: Bool, isStack: Bool) -> First? {
        let last = view.cut(linear &+ UInt64(max(size, 1) - 1))
        for place in linear >> 12 == last >> 12 ? [linear] : [linear, last] {
            if let fault = pageFault(place, isWrite: isWrite, isStack: isStack) { return fault }
        }
        return nil
    }

    private func pageFault(_ linear: UInt64, isWrite: Bool, isStack: Bool) -> First? {
        guard special.cr0.contains(.pg) else { return nil }
        let walk = view.walk(linear)
        if case .nonCanonical = walk.outcome { return first(isStack ? 12 : 13, 0, .nonCanonical(linear)) }
        guard let denial = dataDenial(walk, isWrite: isWrite) else { return nil }
        var code = InterruptDelivery.pageError(walk, isWrite: isWrite, isUser: cpl == 3)
        // Bit 5: a protection key.
        if case .protectionKey = denial { code |= 0x20 }
        return first(14, code, .dataPage(walk, isWrite: isWrite, denial))
    }

    /// Source: SDM volume 3A, 4.6.
    private func dataDenial(_ walk: PageWalk, isWrite: Bool) -> FaultCause.PageDenial? {
        switch walk.outcome {
        case .mapped(let mapping):
            let isUser = cpl == 3
            if isUser, !mapping.isUser { return .supervisor }
            if !isUser, mapping.isUser, special.cr4.contains(.smap), !registers.rflags.contains(.ac) {
                return .userData
            }
            if isWrite, !mapping.isWritable, isUser || special.cr0.contains(.wp) { return .readOnly }
            guard special.cr4.contains(.pke), mapping.isUser, let pkru = facts.pkru else { return nil }
            let rights = pkru >> (UInt32(mapping.protectionKey) * 2)
            let isDenied =
                rights & 1 != 0 || isWrite && rights & 2 != 0 && (isUser || special.cr0.contains(.wp))
            return isDenied ? .protectionKey(mapping.protectionKey) : nil
        case .notPresent, .reservedBits: return .unmapped
        case .unreadable, .nonCanonical: return nil
        }
    }

    // MARK: alignment

    /// #AC: CR0.AM, RFLAGS.AC, CPL 3. Source: SDM volume 3A, table 6-7.
    private func alignmentFault(_ linear: UInt64, _ size: Int) -> First? {
        guard special.cr0.contains(.am), registers.rflags.contains(.ac), cpl == 3 else { return nil }
        let bytes: UInt64
        switch size {
        case 2, 4, 8: bytes = UInt64(size)
        case 10: bytes = 8
        // A far pointer's selector, and what a bound's pair is made of.
        case 6: bytes = 4
        default: return nil
        }
        return linear % bytes == 0 ? nil : first(17, 0, .alignment(linear, bytes))
    }

    /// What the instruction wants by itself, whatever CPL and flags: else #GP. Source: SDM volume 2A, table 2-21, and
    /// the instructions' own pages.
    private static func ownAlignment(of operand: MemoryOperand, _ instruction: Instruction) -> UInt64? {
        guard !operand.isImplicit else { return nil }
        let name = instruction.mnemonic
        switch instruction.unit {
        case .fxsave: return 16
        case .xsave: return 64
        case .sse:
            let isFree =
                ["movups", "movupd", "movdqu", "lddqu"].contains(name)
                || name.hasPrefix("pcmp") && name.contains("str")
            return operand.size == 16 && !isFree ? 16 : nil
        case .avx, .avx512:
            let isAligned =
                ["vmovaps", "vmovapd", "vmovntdq", "vmovntdqa", "vmovntps", "vmovntpd"].contains(name)
                || name.hasPrefix("vmovdqa")
            return isAligned ? UInt64(max(operand.size, 1)) : nil
        default: return name == "cmpxchg16b" ? 16 : nil
        }
    }
}
