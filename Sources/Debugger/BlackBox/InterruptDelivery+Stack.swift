import DebugTarget
import X86

extension InterruptDelivery {
    /// The gate was good: to its code segment, and onto its stack.
    func enter(_ gate: Gate, _ selector: UInt16, _ external: UInt32) -> Outcome {
        let own = UInt32(selector & ~3) | external
        let code: Segment
        switch descriptor(selector) {
        case .segment(let segment): code = segment
        case .problem(.null): return fault(13, external, .gateSelector(selector, .null))
        case .problem(let problem): return fault(13, own, .gateSelector(selector, problem))
        case .outcome(let outcome): return outcome
        }
        let attributes = code.attributes
        guard attributes.isCode else { return fault(13, own, .gateSelector(selector, .notCode)) }
        guard attributes.privilege <= cpl else { return fault(13, own, .gateSelector(selector, .privilege)) }
        guard attributes.isPresent else { return fault(11, own, .gateSelector(selector, .notPresent)) }
        if isLong, !attributes.isLong || attributes.isBig {
            return fault(13, own, .gateSelector(selector, .notLong))
        }
        // Type bit 2 of code: conforming, it runs at the caller's privilege.
        let ring = attributes.type & 4 != 0 ? cpl : attributes.privilege
        if isVirtual, ring != 0 { return fault(13, own, .gateSelector(selector, .privilege)) }
        if isLong {
            guard isCanonical(gate.handler) else {
                return fault(13, external, .handlerNonCanonical(gate.handler))
            }
            return pushLong(gate, ring, external)
        }
        guard gate.handler <= UInt64(code.limit) else {
            return fault(13, external, .handlerLimit(offset: gate.handler, limit: code.limit))
        }
        return push(gate, code, ring, external)
    }

    private func isCanonical(_ address: UInt64) -> Bool {
        let bits = UInt64(special.cr4.contains(.la57) ? 57 : 48)
        let top = Int64(bitPattern: address) >> Int64(bits - 1)
        return top == 0 || top == -1
    }

    private func pushLong(_ gate: Gate, _ ring: UInt8, _ external: UInt32) -> Outcome {
        var pointer = registers.rsp
        if ring < cpl || gate.stack != 0 {
            let field = gate.stack != 0 ? 0x24 + UInt64(gate.stack - 1) * 8 : 4 + UInt64(ring) * 8
            switch taskState(field, 8, external) {
            case .value(let value): pointer = value
            case .outcome(let outcome): return outcome
            }
        }
        guard isCanonical(pointer) else { return fault(12, external, .stackNonCanonical(pointer)) }
        let top = pointer & ~15
        let bytes: UInt64 = gate.hasErrorCode ? 48 : 40
        if let outcome = write(top &- bytes, Int(bytes)) { return outcome }
        return .arrives(Arrival(linear: gate.handler, frame: top &- 40, width: 8))
    }

    private func push(_ gate: Gate, _ code: Segment, _ ring: UInt8, _ external: UInt32) -> Outcome {
        var stack = special.ss
        var pointer = registers.rsp
        var slots: UInt64 = 3
        if ring < cpl {
            switch innerStack(ring, external) {
            case .stack(let segment, let value): (stack, pointer) = (segment, value)
            case .outcome(let outcome): return outcome
            }
            slots = isVirtual ? 9 : 5
        } else if stack.attributes.isUnusable {
            return fault(12, external, .unusableSegment(.ss))
        }
        let width = UInt64(gate.width)
        let bytes = (slots + (gate.hasErrorCode ? 1 : 0)) * width
        let mask: UInt64 = stack.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
        let bottom = (pointer &- bytes) & mask
        let last = (pointer &- 1) & mask
        // Data that expands down: offsets above the limit are the good ones.
        let expandsDown = stack.attributes.type & 4 != 0
        let isIn =
            expandsDown
            ? bottom > UInt64(stack.limit) && bottom <= last
            : last <= UInt64(stack.limit) && bottom <= last
        guard isIn else {
            let code = ring < cpl ? UInt32(stack.selector & ~3) | external : external
            return fault(12, code, .stackLimit(pointer: pointer & mask, limit: stack.limit))
        }
        let linear = view.cut(stack.base &+ bottom)
        if let outcome = write(linear, Int(bytes)) { return outcome }
        return .arrives(
            Arrival(
                linear: view.cut(code.base &+ gate.handler),
                frame: view.cut(linear &+ (gate.hasErrorCode ? width : 0)), width: gate.width))
    }

    /// What is wrong with the stack of a ring that is further in, for a call through a gate.
    func innerStackFault(_ ring: UInt8) -> FaultChain.Link? {
        if isLong {
            guard case .outcome(.faults(let link)) = taskState(4 + UInt64(ring) * 8, 8, 0) else { return nil }
            return link
        }
        guard case .outcome(.faults(let link)) = innerStack(ring, 0) else { return nil }
        return link
    }

    private enum Inner {
        case stack(Segment, UInt64)
        case outcome(Outcome)
    }

    /// The stack of a ring that is further in, from the TSS.
    private func innerStack(_ ring: UInt8, _ external: UInt32) -> Inner {
        let isWide = special.tr.attributes.type & 8 != 0
        let size: UInt64 = isWide ? 4 : 2
        let field = isWide ? 4 + UInt64(ring) * 8 : 2 + UInt64(ring) * 4
        let pointer: UInt64
        let selector: UInt16
        switch taskState(field, Int(size), external) {
        case .value(let value): pointer = value
        case .outcome(let outcome): return .outcome(outcome)
        }
        switch taskState(field + size, 2, external) {
        case .value(let value): selector = UInt16(truncatingIfNeeded: value)
        case .outcome(let outcome): return .outcome(outcome)
        }
        let own = UInt32(selector & ~3) | external
        switch descriptor(selector) {
        case .segment(let segment):
            let attributes = segment.attributes
            guard selector & 3 == UInt16(ring), attributes.privilege == ring else {
                return .outcome(fault(10, own, .stackSelector(selector, .privilege)))
            }
            guard attributes.isWritableData else {
                return .outcome(fault(10, own, .stackSelector(selector, .notData)))
            }
            guard attributes.isPresent else {
                return .outcome(fault(12, own, .stackSelector(selector, .notPresent)))
            }
            return .stack(segment, pointer)
        case .problem(let problem):
            return .outcome(fault(10, own, .stackSelector(selector, problem)))
        case .outcome(let outcome): return .outcome(outcome)
        }
    }

    private func taskState(_ field: UInt64, _ size: Int, _ external: UInt32) -> Read {
        let register = special.tr
        guard !register.attributes.isUnusable, register.attributes.isPresent else {
            return .outcome(fault(10, UInt32(register.selector & ~3) | external, .noTaskState))
        }
        guard field + UInt64(size) - 1 <= UInt64(register.limit) else {
            return .outcome(
                fault(
                    10, UInt32(register.selector & ~3) | external,
                    .taskStateLimit(fieldEnd: field + UInt64(size) - 1, limit: register.limit)))
        }
        return table(.tss, view.cut(register.base &+ field), size)
    }

    func taskGate(_ selector: UInt16, _ external: UInt32) -> Outcome {
        let own = UInt32(selector & ~3) | external
        guard selector & 4 == 0 else { return fault(13, own, .gateSelector(selector, .notTaskState)) }
        switch descriptor(selector) {
        case .segment(let segment):
            // Type 1 and 9: available.
            guard !segment.attributes.isCodeOrData, [1, 9].contains(segment.attributes.type) else {
                return fault(13, own, .gateSelector(selector, .notTaskState))
            }
            guard segment.attributes.isPresent else {
                return fault(11, own, .gateSelector(selector, .notPresent))
            }
            return .taskGate(selector: selector)
        case .problem(let problem): return fault(13, own, .gateSelector(selector, problem))
        case .outcome(let outcome): return outcome
        }
    }

    /// Whether a supervisor may write the bytes; the fault where not.
    private func write(_ linear: UInt64, _ count: Int) -> Outcome? {
        for place in [linear, view.cut(linear &+ UInt64(count - 1))] {
            let walk = view.walk(place)
            if case .unreadable(_, let gpa) = walk.outcome { return .unreadable(gpa: gpa) }
            let mayWrite = walk.mapping.map { $0.isWritable || !special.cr0.contains(.wp) } ?? false
            guard !mayWrite else { continue }
            return fault(14, Self.pageError(walk, isWrite: true, isUser: false), .stackPage(walk))
        }
        return nil
    }

    // MARK: descriptors

    enum Found {
        case segment(Segment)
        case problem(FaultCause.SelectorProblem)
        case outcome(Outcome)
    }

    /// The descriptor that a selector names.
    func descriptor(_ selector: UInt16) -> Found {
        let place: UInt64
        do throws(SegmentLoadError) {
            place = try RegisterFile(general: registers, special: special).descriptorAddress(of: selector)
        } catch {
            switch error {
            case .nullSelector: return .problem(.null)
            case .beyondTable(_, let limit): return .problem(.beyondTable(limit: limit))
            case .noLocalTable: return .problem(.noLocalTable)
            case .notPresent, .wrongType, .longAndBig: return .problem(.unreadable)
            }
        }
        switch table(selector & 4 == 0 ? .gdt : .ldt, place, 8) {
        case .value(let low):
            return .segment(Segment(loading: low, selector: selector, inLongMode: isLong))
        case .outcome(let outcome): return .outcome(outcome)
        }
    }
}
