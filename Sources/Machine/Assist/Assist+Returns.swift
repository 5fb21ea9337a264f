import X86

/// IRET and far RET where KVM's emulator has them not: outside real mode, and to an outer level.
///
/// Source: SDM volume 2A, IRET; volume 2B, RET.
extension Assist {
    static let interruptReturn: Body = { state, instruction throws(AssistFailure) in
        // The emulator has it there, and what comes of it is another defect.
        guard state.special.cr0.contains(.pe) else { throw .notMine }
        if state.isVirtual { return try returnInVirtual(&state, instruction) }
        if state.general.rflags.contains(.nt) {
            if state.isLong { throw .fault(.protection(0)) }
            // A return to another task.
            throw .notMine
        }
        var stack = AssistStack(state, width: instruction.operandSize)
        let ip = try stack.pop(state)
        let selector = UInt16(truncatingIfNeeded: try stack.pop(state))
        let image = RFlags(rawValue: try stack.pop(state))
        if !state.isLong, state.cpl == 0, instruction.operandSize == 4, image.contains(.vm) {
            return try returnToVirtual(&state, &stack, ip, selector, image)
        }
        let code = try returnCode(state, selector)
        let privilege = UInt8(selector & 3)
        let before = state.cpl
        var writes = code.writes
        // 64-bit code always has SS and RSP there.
        if privilege > before || state.mode == .long64 {
            let pointer = try stack.pop(state)
            let stackSelector = UInt16(truncatingIfNeeded: try stack.pop(state))
            try checkTarget(state, ip, code.segment)
            let toLong = state.isLong && code.segment.attributes.isLong
            let loaded = try returnStack(state, stackSelector, privilege: privilege, toLong: toLong)
            writes += loaded.writes
            load(&state.general.rflags, image, instruction.operandSize, before)
            state.special.ss = loaded.segment
            state.special.cs = code.segment
            setPointer(&state, pointer, toLong: toLong, width: instruction.operandSize)
            if privilege > before { dropData(&state.special, privilege: privilege) }
        } else {
            try checkTarget(state, ip, code.segment)
            load(&state.general.rflags, image, instruction.operandSize, before)
            state.general.rsp = stack.pointer
            state.special.cs = code.segment
        }
        state.general.rip = ip
        state.commit(writes)
    }

    /// What IRET loads of RFLAGS; `privilege` is that of the code that it is in.
    private static func load(_ flags: inout RFlags, _ image: RFlags, _ width: Int, _ privilege: UInt8) {
        var loaded: RFlags = [.cf, .pf, .af, .zf, .sf, .tf, .df, .of, .nt]
        if width > 2 { loaded.formUnion([.rf, .ac, .id]) }
        if privilege <= flags.iopl { loaded.insert(.if) }
        if privilege == 0 {
            loaded.insert(RFlags(rawValue: 3 << 12))
            if width > 2 { loaded.formUnion([.vif, .vip]) }
        }
        flags = RFlags(rawValue: flags.rawValue & ~loaded.rawValue | image.rawValue & loaded.rawValue | 2)
    }

    /// The new stack pointer, as wide as the new stack is.
    private static func setPointer(_ state: inout AssistState, _ pointer: UInt64, toLong: Bool, width: Int) {
        let mask: UInt64 = toLong ? .max : state.special.ss.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
        let kept = width == 8 ? mask : min(mask, width == 2 ? 0xFFFF : 0xFFFF_FFFF)
        // A 16-bit stack's pointer keeps its upper half.
        state.general.rsp = mask == 0xFFFF ? state.general.rsp & ~0xFFFF | pointer & 0xFFFF : pointer & kept
    }

    /// In virtual-8086 mode: as in real mode, where IOPL is 3.
    private static func returnInVirtual(
        _ state: inout AssistState, _ instruction: AssistInstruction
    ) throws(AssistFailure) {
        guard state.general.rflags.iopl == 3 else { throw .fault(.protection(0)) }
        var stack = AssistStack(state, width: instruction.operandSize)
        let ip = try stack.pop(state)
        let selector = UInt16(truncatingIfNeeded: try stack.pop(state))
        let image = RFlags(rawValue: try stack.pop(state))
        guard ip <= 0xFFFF else { throw .fault(.protection(0)) }
        // VM and IOPL stay.
        load(&state.general.rflags, image, instruction.operandSize, 3)
        state.general.rsp = stack.pointer
        state.general.rip = ip
        state.special.cs = virtualSegment(selector)
    }

    /// From CPL 0 to virtual-8086 mode.
    private static func returnToVirtual(
        _ state: inout AssistState, _ stack: inout AssistStack, _ ip: UInt64, _ selector: UInt16,
        _ image: RFlags
    ) throws(AssistFailure) {
        let pointer = try stack.pop(state)
        var selectors: [UInt16] = []
        for _ in 0..<5 { selectors.append(UInt16(truncatingIfNeeded: try stack.pop(state))) }
        guard ip & 0xFFFF_FFFF <= 0xFFFF else { throw .fault(.protection(0)) }
        let all: RFlags = [
            .cf, .pf, .af, .zf, .sf, .tf, .if, .df, .of, .nt, .rf, .vm, .ac, .vif, .vip, .id,
            RFlags(rawValue: 3 << 12),
        ]
        state.general.rflags = RFlags(rawValue: image.rawValue & all.rawValue | 2)
        state.general.rip = ip & 0xFFFF
        state.general.rsp = pointer
        state.special.cs = virtualSegment(selector)
        for (name, selector) in zip([SegmentName.ss, .es, .ds, .fs, .gs], selectors) {
            state.special[name] = virtualSegment(selector)
        }
    }

    /// 64 KiB of read/write data with DPL 3, as all segments are there (SDM volume 3A, 21.2.1).
    static func virtualSegment(_ selector: UInt16) -> Segment {
        Segment(
            base: UInt64(selector) << 4, limit: 0xFFFF, selector: selector,
            attributes: SegmentAttributes(rawValue: 0xF3))
    }

    static let farReturn: Body = { state, instruction throws(AssistFailure) in
        // Real and virtual-8086 mode are the emulator's.
        guard state.hasDescriptors else { throw .notMine }
        let release = UInt64(instruction.immediate)
        var stack = AssistStack(state, width: instruction.operandSize)
        let ip = try stack.pop(state)
        let selector = UInt16(truncatingIfNeeded: try stack.pop(state))
        let code = try returnCode(state, selector)
        let privilege = UInt8(selector & 3)
        var writes = code.writes
        stack.move(state, by: release)
        if privilege > state.cpl {
            let pointer = try stack.pop(state)
            let stackSelector = UInt16(truncatingIfNeeded: try stack.pop(state))
            try checkTarget(state, ip, code.segment)
            let toLong = state.isLong && code.segment.attributes.isLong
            let loaded = try returnStack(state, stackSelector, privilege: privilege, toLong: toLong)
            writes += loaded.writes
            state.special.ss = loaded.segment
            state.special.cs = code.segment
            setPointer(&state, pointer &+ release, toLong: toLong, width: instruction.operandSize)
            dropData(&state.special, privilege: privilege)
        } else {
            try checkTarget(state, ip, code.segment)
            state.general.rsp = stack.pointer
            state.special.cs = code.segment
        }
        state.general.rip = ip
        state.commit(writes)
    }
}
