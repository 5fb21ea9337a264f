import X86

/// INT n, INT3 and INTO by the tables of protected and 64-bit mode, with the change of stack that they need.
///
/// Source: SDM volume 2A, INT n; volume 3A, 6.12 and 6.14.
extension Assist {
    /// - Parameter checksIOPL: INT n in virtual-8086 mode needs IOPL 3; INT3 and INTO do not.
    static func interrupt(_ vector: UInt8, checksIOPL: Bool) -> Body {
        { state, _ throws(AssistFailure) in
            guard state.special.cr0.contains(.pe) else { return try interruptInReal(&state, vector) }
            if checksIOPL, state.isVirtual, state.general.rflags.iopl < 3 { throw .fault(.protection(0)) }
            // With virtual-mode extensions a bitmap may send it to the program's own table.
            if checksIOPL, state.isVirtual, state.special.cr4.contains(.vme) { throw .notMine }
            try deliver(&state, try gate(state, vector))
        }
    }

    /// By the table of real mode: FLAGS, CS and IP are pushed (SDM volume 3A, 21.1.4).
    private static func interruptInReal(_ state: inout AssistState, _ vector: UInt8) throws(AssistFailure) {
        let entry = UInt64(vector) * 4
        guard entry + 3 <= UInt64(state.special.idt.limit) else {
            throw .fault(AssistFault(vector: 13))
        }
        let target = try state.read((state.special.idt.base &+ entry) & 0xFFFF_FFFF, size: 4)
        var stack = AssistStack(state, width: 2)
        try stack.push(state, state.general.rflags.rawValue & 0xFFFF)
        try stack.push(state, UInt64(state.special.cs.selector))
        try stack.push(state, state.general.rip & 0xFFFF)
        state.general.rsp = stack.pointer
        state.general.rflags.remove([.if, .tf, .ac])
        state.general.rip = target & 0xFFFF
        state.special.cs.selector = UInt16(truncatingIfNeeded: target >> 16)
        state.special.cs.base = (target >> 16) << 4
        state.commit(stack.writes)
    }

    private struct Gate {
        var offset: UInt64
        var selector: UInt16
        /// Of what is pushed, in bytes.
        var width: Int
        var isTrap: Bool
        /// 1 to 7, or 0 for none.
        var stack: UInt8
    }

    /// Delivers an exception that an instruction raised, as the processor does. False, and nothing changed, where it cannot
    /// be delivered so: KVM finds out what comes of that.
    static func deliver(_ fault: Completion.Fault, _ state: inout AssistState) -> Bool {
        guard state.special.cr0.contains(.pe) else { return false }
        var next = state
        // What is returned to is not to raise it as a breakpoint again.
        next.general.rflags.insert(.rf)
        do throws(AssistFailure) {
            try deliver(
                &next, try gate(next, fault.vector, checksPrivilege: false), code: fault.code)
        } catch {
            return false
        }
        state = next
        return true
    }

    /// - Parameter checksPrivilege: of the code; an exception has none.
    private static func gate(
        _ state: AssistState, _ vector: UInt8, checksPrivilege: Bool = true
    ) throws(AssistFailure) -> Gate {
        let own = UInt16(vector) << 3 | 2
        let size: UInt64 = state.isLong ? 16 : 8
        let offset = UInt64(vector) * size
        guard offset + size - 1 <= UInt64(state.special.idt.limit) else { throw .fault(.protection(own)) }
        let place = state.cut(state.special.idt.base &+ offset)
        let low = try state.read(place, size: 8, privilege: 0)
        let attributes = SegmentAttributes(rawValue: UInt32(truncatingIfNeeded: low >> 40 & 0xFF))
        let isGate =
            state.isLong ? [14, 15].contains(attributes.type) : [5, 6, 7, 14, 15].contains(attributes.type)
        guard !attributes.isCodeOrData, isGate, !checksPrivilege || attributes.privilege >= state.cpl else {
            throw .fault(.protection(own))
        }
        guard attributes.isPresent else { throw .fault(.notPresent(own)) }
        // A switch of tasks.
        guard attributes.type != 5 else { throw .notMine }
        var target = low & 0xFFFF
        if attributes.type & 8 != 0 { target |= low >> 32 & 0xFFFF_0000 }
        if state.isLong { target |= try state.read(state.cut(place &+ 8), size: 4, privilege: 0) << 32 }
        return Gate(
            offset: target, selector: UInt16(truncatingIfNeeded: low >> 16),
            width: state.isLong ? 8 : attributes.type & 8 != 0 ? 4 : 2, isTrap: attributes.type & 1 != 0,
            stack: state.isLong ? UInt8(truncatingIfNeeded: low >> 32 & 7) : 0)
    }

    /// - Parameter code: the error code that some exceptions push.
    private static func deliver(
        _ state: inout AssistState, _ gate: Gate, code errorCode: UInt32? = nil
    ) throws(AssistFailure) {
        guard gate.selector & ~3 != 0 else { throw .fault(.protection(0)) }
        let name = gate.selector & ~3
        guard let low = try state.descriptor(gate.selector) else { throw .fault(.protection(name)) }
        var code = Segment(loading: low, selector: gate.selector, inLongMode: state.isLong)
        let attributes = code.attributes
        let before = state.cpl
        guard attributes.isCode, attributes.privilege <= before,
            !state.isLong || attributes.isLong && !attributes.isBig
        else { throw .fault(.protection(name)) }
        guard attributes.isPresent else { throw .fault(.notPresent(name)) }
        let privilege = attributes.isConforming ? before : attributes.privilege
        // Virtual-8086 code enters CPL 0 and no other.
        guard !state.isVirtual || privilege == 0 else { throw .fault(.protection(name)) }
        code.selector = gate.selector & ~3 | UInt16(privilege)
        code.attributes.type |= 1
        var writes = try state.markAccessed(gate.selector, low)

        var stack: AssistStack
        var newStack: Segment?
        if privilege < before || gate.stack != 0 || state.isLong {
            let made = try innerStack(state, gate, privilege, isInner: privilege < before)
            stack = made.stack
            newStack = made.segment
            writes += made.writes
        } else {
            stack = AssistStack(state, width: gate.width)
        }
        // What the handler's code is decoded as decides how its stack is addressed.
        var there = state
        there.special.cs = code
        there.general.rflags.remove(.vm)
        if state.isVirtual {
            for name in [SegmentName.gs, .fs, .ds, .es] {
                try stack.push(there, UInt64(state.special[name].selector))
            }
        }
        if newStack != nil {
            try stack.push(there, UInt64(state.special.ss.selector))
            try stack.push(there, state.general.rsp)
        }
        try stack.push(there, state.general.rflags.rawValue)
        try stack.push(there, UInt64(state.special.cs.selector))
        try stack.push(there, state.general.rip)
        if let errorCode { try stack.push(there, UInt64(errorCode)) }
        try checkTarget(state, gate.offset, code)

        if state.isVirtual {
            for name in [SegmentName.gs, .fs, .ds, .es] {
                state.special[name] = Segment(
                    base: 0, limit: 0, selector: 0, attributes: SegmentAttributes(rawValue: 1 << 16))
            }
        }
        state.general.rflags.remove([.tf, .nt, .vm, .rf])
        if !gate.isTrap { state.general.rflags.remove(.if) }
        if let newStack, privilege < before { state.special.ss = newStack }
        state.special.cs = code
        state.general.rsp = stack.pointer
        state.general.rip = gate.offset
        state.commit(writes + stack.writes)
    }

    /// The stack that the TSS has for a privilege or, in IA-32e mode, the one at hand, aligned.
    private static func innerStack(
        _ state: AssistState, _ gate: Gate, _ privilege: UInt8, isInner: Bool
    ) throws(AssistFailure) -> (stack: AssistStack, segment: Segment, writes: [AssistState.Write]) {
        let task = state.special.tr
        func field(_ offset: UInt64, _ size: Int) throws(AssistFailure) -> UInt64 {
            guard !task.attributes.isUnusable, offset + UInt64(size) - 1 <= UInt64(task.limit) else {
                throw .fault(.taskState(task.selector & ~3))
            }
            return try state.read(state.cut(task.base &+ offset), size: size, privilege: 0)
        }
        if state.isLong {
            var pointer = state.general.rsp
            if gate.stack != 0 {
                pointer = try field(0x24 + UInt64(gate.stack - 1) * 8, 8)
            } else if isInner {
                pointer = try field(4 + UInt64(privilege) * 8, 8)
            }
            guard state.isCanonical(pointer) else { throw .fault(.stack(0)) }
            let segment = isInner ? nullStack(UInt16(privilege), privilege) : state.special.ss
            return (
                AssistStack(segment, pointer & ~15, width: 8, privilege: privilege), segment, []
            )
        }
        let isWide = task.attributes.type & 8 != 0
        let pointer =
            isWide ? try field(4 + UInt64(privilege) * 8, 4) : try field(2 + UInt64(privilege) * 4, 2)
        let selector = UInt16(
            truncatingIfNeeded: isWide
                ? try field(8 + UInt64(privilege) * 8, 2) : try field(4 + UInt64(privilege) * 4, 2))
        guard selector & ~3 != 0 else { throw .fault(.taskState(0)) }
        let name = selector & ~3
        guard let low = try state.descriptor(selector) else { throw .fault(.taskState(name)) }
        var segment = Segment(loading: low, selector: selector, inLongMode: false)
        guard UInt8(selector & 3) == privilege, segment.attributes.privilege == privilege,
            segment.attributes.isWritableData
        else { throw .fault(.taskState(name)) }
        guard segment.attributes.isPresent else { throw .fault(.stack(name)) }
        segment.attributes.type |= 1
        var stack = AssistStack(segment, pointer, width: gate.width, privilege: privilege)
        stack.errorCode = name
        return (stack, segment, try state.markAccessed(selector, low))
    }
}
