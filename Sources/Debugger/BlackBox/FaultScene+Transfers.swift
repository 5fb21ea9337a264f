import DebugTarget
import Disassembler
import X86

/// Far JMP, CALL and RET, and IRET. Source: SDM volume 2, the instructions' pages; volume 3A, 5.8 and 7.3.
extension FaultScene {
    func farTransferFault(_ instruction: Instruction) -> First? {
        if instruction.traits.contains(.interruptReturn), instruction.mnemonic.hasPrefix("iret") {
            return interruptReturnFault(instruction)
        }
        guard instruction.traits.contains(.far) else { return nil }
        if instruction.traits.contains(.return) { return farReturnFault(instruction) }
        let isCall = instruction.traits.contains(.call)
        guard isCall || instruction.traits.contains(.jump) else { return nil }
        if case .far(let place)? = instruction.target {
            return transferFault(place.selector, offset: place.offset, isCall: isCall)
        }
        let size = instruction.operandWidth / 8
        guard let offset = word(of: instruction, at: 0, size: size),
            let selector = word(of: instruction, at: UInt64(size), size: 2)
        else { return nil }
        return transferFault(UInt16(truncatingIfNeeded: selector), offset: offset, isCall: isCall)
    }

    private var hasSelectors: Bool { special.cr0.contains(.pe) && !delivery.isVirtual }

    // MARK: JMP and CALL

    private func transferFault(_ selector: UInt16, offset: UInt64, isCall: Bool) -> First? {
        guard hasSelectors else { return targetFault(offset, special.cs, isLong: false) }
        return check(selector) { segment in
            let attributes = segment.attributes
            guard attributes.isCodeOrData else { return systemFault(selector, segment, isCall: isCall) }
            guard attributes.isCode else { return selectorFault(13, selector, .notCode) }
            if let problem = codeProblem(attributes, rpl: UInt8(selector & 3)) {
                return selectorFault(13, selector, problem)
            }
            guard attributes.isPresent else { return selectorFault(11, selector, .notPresent) }
            return targetFault(offset, segment, isLong: delivery.isLong && attributes.isLong)
        }
    }

    private func codeProblem(_ attributes: SegmentAttributes, rpl: UInt8) -> FaultCause.SelectorProblem? {
        if delivery.isLong, attributes.isLong, attributes.isBig { return .notLong }
        let isConforming = attributes.type & 4 != 0
        let isAllowed =
            isConforming ? attributes.privilege <= cpl : rpl <= cpl && attributes.privilege == cpl
        return isAllowed ? nil : .descriptorPrivilege(dpl: attributes.privilege, rpl: rpl, cpl: cpl)
    }

    /// To a call gate, a task gate or a TSS.
    private func systemFault(_ selector: UInt16, _ segment: Segment, isCall: Bool) -> First? {
        let attributes = segment.attributes
        let rpl = UInt8(selector & 3)
        let isGate = delivery.isLong ? attributes.type == 12 : [4, 12].contains(attributes.type)
        let isTask = [1, 3, 5, 9, 11].contains(attributes.type)
        guard isGate || isTask else { return selectorFault(13, selector, .notCode) }
        if isTask, delivery.isLong { return selectorFault(13, selector, .taskInLongMode) }
        guard attributes.privilege >= max(rpl, cpl) else {
            return selectorFault(
                13, selector, .descriptorPrivilege(dpl: attributes.privilege, rpl: rpl, cpl: cpl))
        }
        if !isGate, attributes.type & 3 == 3 { return selectorFault(13, selector, .busyTask) }
        guard attributes.isPresent else { return selectorFault(11, selector, .notPresent) }
        if isGate { return gateFault(selector, isCall: isCall) }
        // Where a task leads to is not followed.
        guard attributes.type != 5 else { return nil }
        let needed: UInt32 = attributes.type & 8 != 0 ? 0x67 : 0x2B
        return segment.limit >= needed
            ? nil : selectorFault(10, selector, .shortTaskState(limit: segment.limit))
    }

    /// The code segment that a call gate leads to, and the stack of its ring.
    private func gateFault(_ gate: UInt16, isCall: Bool) -> First? {
        guard let place = try? file.descriptorAddress(of: gate), let low = view.word(place, size: 8) else {
            return nil
        }
        let selector = UInt16(truncatingIfNeeded: low >> 16)
        func fault(_ vector: UInt8, _ problem: FaultCause.SelectorProblem) -> First {
            first(vector, problem == .null ? 0 : UInt32(selector & ~3), .throughGate(selector, problem))
        }
        let segment: Segment
        switch find(selector) {
        case .segment(let found): segment = found
        case .fault(var found):
            if case .selector(_, let problem)? = found.link.cause {
                found.link.cause = .throughGate(selector, problem)
            }
            return found
        case .unknown: return nil
        }
        let attributes = segment.attributes
        guard attributes.isCode else { return fault(13, .notCode) }
        let isConforming = attributes.type & 4 != 0
        let isAllowed = isCall || isConforming ? attributes.privilege <= cpl : attributes.privilege == cpl
        guard isAllowed else {
            return fault(
                13, .descriptorPrivilege(dpl: attributes.privilege, rpl: UInt8(selector & 3), cpl: cpl))
        }
        if delivery.isLong, !attributes.isLong || attributes.isBig { return fault(13, .notLong) }
        guard attributes.isPresent else { return fault(11, .notPresent) }
        guard isCall, !isConforming, attributes.privilege < cpl else { return nil }
        return delivery.innerStackFault(attributes.privilege).map { First(link: $0) }
    }

    // MARK: RET and IRET

    private func farReturnFault(_ instruction: Instruction) -> First? {
        let slot = instruction.operandWidth / 8
        // RET n drops n bytes above the return address.
        let opcode = FaultOpcode(instruction)
        let dropped =
            opcode.byte(0) == 0xCA ? UInt64(opcode.byte(1) ?? 0) | UInt64(opcode.byte(2) ?? 0) << 8 : 0
        return returnFault(slot, stack: UInt64(2 * slot) + dropped, isInterrupt: false)
    }

    private func interruptReturnFault(_ instruction: Instruction) -> First? {
        let slot = instruction.operandWidth / 8
        if special.cr0.contains(.pe), registers.rflags.contains(.nt), !delivery.isVirtual {
            return delivery.isLong ? first(13, 0, .nestedTask) : nestedTaskFault()
        }
        return returnFault(slot, stack: UInt64(3 * slot), isInterrupt: true)
    }

    /// IRET in a task that was called: back to the one that the TSS names.
    private func nestedTaskFault() -> First? {
        guard let link = view.word(view.cut(special.tr.base), size: 2) else { return nil }
        let selector = UInt16(truncatingIfNeeded: link)
        guard selector & 4 == 0 else { return selectorFault(10, selector, .inLocalTable) }
        return check(selector, vector: 10) { segment in
            guard segment.attributes.isTaskState else { return selectorFault(10, selector, .notTaskState) }
            guard segment.attributes.type & 2 != 0 else { return selectorFault(10, selector, .idleTask) }
            return segment.attributes.isPresent ? nil : selectorFault(11, selector, .notPresent)
        }
    }

    /// - Parameters:
    ///   - slot: the bytes of one.
    ///   - stack: where SP and SS lie above the stack pointer, if they are popped.
    private func returnFault(_ slot: Int, stack: UInt64, isInterrupt: Bool) -> First? {
        let count = isInterrupt ? 3 : 2
        if let fault = poppedFault(slot * count) { return fault }
        guard let ip = stackWord(0, size: slot), let word = stackWord(UInt64(slot), size: 2) else {
            return nil
        }
        guard hasSelectors else { return targetFault(ip, special.cs, isLong: false) }
        if isInterrupt, slot == 4, cpl == 0, !delivery.isLong,
            stackWord(8, size: 4).map({ RFlags(rawValue: $0).contains(.vm) }) ?? false
        {
            // Nine slots are popped. CS's limit will be 0xFFFF.
            return poppedFault(36) ?? targetFault(ip, Segment.real(0, code: true), isLong: false)
        }
        let selector = UInt16(truncatingIfNeeded: word)
        return check(selector) { segment in
            let attributes = segment.attributes
            let rpl = UInt8(selector & 3)
            guard attributes.isCode else { return selectorFault(13, selector, .notCode) }
            guard rpl >= cpl else {
                return selectorFault(13, selector, .requestedPrivilege(rpl: rpl, cpl: cpl))
            }
            let isConforming = attributes.type & 4 != 0
            guard isConforming ? attributes.privilege <= rpl : attributes.privilege == rpl else {
                return selectorFault(
                    13, selector, .descriptorPrivilege(dpl: attributes.privilege, rpl: rpl, cpl: cpl))
            }
            if delivery.isLong, attributes.isLong, attributes.isBig {
                return selectorFault(13, selector, .notLong)
            }
            guard attributes.isPresent else { return selectorFault(11, selector, .notPresent) }
            let isLong = delivery.isLong && attributes.isLong
            // IRET in 64-bit mode always pops them.
            if rpl > cpl || isInterrupt && mode == .long64 {
                if let fault = poppedFault(Int(stack) + 2 * slot) { return fault }
                guard let outer = stackWord(stack &+ UInt64(slot), size: 2) else { return nil }
                let popped = UInt16(truncatingIfNeeded: outer)
                let isAllowedNull = popped & ~3 == 0 && isLong && rpl < 3 && UInt8(popped & 3) == rpl
                if popped & ~3 == 0, !isAllowedNull { return selectorFault(13, popped, .null) }
                if !isAllowedNull, let fault = stackSegmentFault(popped, ring: rpl) { return fault }
            }
            return targetFault(ip, segment, isLong: isLong)
        }
    }

    /// Whether so many bytes can be popped.
    private func poppedFault(_ count: Int) -> First? {
        let offset = stackOffset(0)
        return segmentFault(.ss, offset, count, isWrite: false)
            ?? pagesFault(special.linear(.ss, offset, mode: mode), count, isWrite: false, isStack: true)
    }
}
