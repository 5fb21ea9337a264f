import X86

/// Decimal and ASCII adjustment, and what concerns the x87 and extended state.
extension Assist {
    /// DAA and DAS. Source: SDM volume 2A.
    static func decimalAdjust(afterSubtraction: Bool) -> Body {
        { state, _ in
            let before = UInt8(truncatingIfNeeded: state.general.rax)
            let carry = state.general.rflags.contains(.cf)
            var result = before
            var carriesOut = false
            var adjusts = false
            if before & 0xF > 9 || state.general.rflags.contains(.af) {
                adjusts = true
                carriesOut = carry || (afterSubtraction ? before < 6 : before > 0xFF - 6)
                result = afterSubtraction ? result &- 6 : result &+ 6
            }
            if before > 0x99 || carry {
                result = afterSubtraction ? result &- 0x60 : result &+ 0x60
                carriesOut = true
            } else if !afterSubtraction {
                carriesOut = false
            }
            set(&state, byte: result)
            set(&state.general.rflags, .af, adjusts)
            set(&state.general.rflags, .cf, carriesOut)
        }
    }

    /// AAA and AAS. Source: SDM volume 2A. SF, ZF, PF and OF are undefined: they stay.
    static func asciiAdjust(afterSubtraction: Bool) -> Body {
        { state, _ in
            var ax = UInt16(truncatingIfNeeded: state.general.rax)
            let adjusts = ax & 0xF > 9 || state.general.rflags.contains(.af)
            if adjusts {
                ax = afterSubtraction ? ax &- 0x106 : ax &+ 0x106
            }
            ax &= 0xFF0F
            state.general.rax = state.general.rax & ~0xFFFF | UInt64(ax)
            set(&state.general.rflags, .af, adjusts)
            set(&state.general.rflags, .cf, adjusts)
        }
    }

    private static func set(_ state: inout AssistState, byte: UInt8) {
        state.general.rax = state.general.rax & ~0xFF | UInt64(byte)
        set(&state.general.rflags, .zf, byte == 0)
        set(&state.general.rflags, .sf, byte & 0x80 != 0)
        set(&state.general.rflags, .pf, byte.nonzeroBitCount % 2 == 0)
    }

    static func set(_ flags: inout RFlags, _ flag: RFlags, _ isSet: Bool) {
        if isSet { flags.insert(flag) } else { flags.remove(flag) }
    }

    /// FWAIT: #NM with CR0.MP and CR0.TS, #MF where an x87 exception waits. Source: SDM volume 2A, WAIT/FWAIT.
    static let wait: Body = { state, _ throws(AssistFailure) in
        if state.special.cr0.contains([.mp, .ts]) { throw .fault(.notAvailable) }
        guard let status = state.processor.fpuStatus() else { throw .notMine }
        guard status & 0x80 == 0 else {
            // Without CR0.NE it goes by IRQ 13, which is the board's.
            guard state.special.cr0.contains(.ne) else { throw .notMine }
            throw .fault(AssistFault(vector: 16))
        }
    }

    /// XGETBV. Source: SDM volume 2D.
    static let extendedControl: Body = { state, instruction throws(AssistFailure) in
        guard state.special.cr4.contains(.osxsave), instruction.repeatPrefix == nil else {
            throw .fault(.undefined)
        }
        guard state.general.rcx & 0xFFFF_FFFF == 0 else { throw .fault(.protection(0)) }
        guard let value = state.processor.xcr0() else { throw .notMine }
        state.general.rax = value & 0xFFFF_FFFF
        state.general.rdx = value >> 32
    }

    /// CLAC and STAC. Source: SDM volume 2A and 2B.
    static func accessCheck(_ isSet: Bool) -> Body {
        { state, _ throws(AssistFailure) in
            guard state.processor.abilities.contains(.accessControl), state.cpl == 0 else {
                throw .fault(.undefined)
            }
            set(&state.general.rflags, .ac, isSet)
        }
    }

    /// POPCNT. Source: SDM volume 2B.
    static let countOnes: Body = { state, instruction throws(AssistFailure) in
        guard state.processor.abilities.contains(.countOnes) else { throw .fault(.undefined) }
        let size = instruction.operandSize
        let value: UInt64
        if let operand = instruction.address {
            let linear = try state.linear(operand.segment, operand.offset, size: size, isWrite: false)
            value = try state.read(linear, size: size)
        } else {
            value = state.general[instruction.operand] & UInt64.max >> UInt64(64 - size * 8)
        }
        put(&state, instruction, UInt64(value.nonzeroBitCount))
        state.general.rflags.remove([.of, .sf, .af, .cf, .pf])
        set(&state.general.rflags, .zf, value == 0)
    }

    /// CMPXCHG16B. Source: SDM volume 2A.
    static let compareExchange16: Body = { state, instruction throws(AssistFailure) in
        guard state.processor.abilities.contains(.compareExchange16), let operand = instruction.address else {
            throw .fault(.undefined)
        }
        let linear = try state.linear(operand.segment, operand.offset, size: 16, isWrite: true)
        guard linear & 15 == 0 else { throw .fault(.protection(0)) }
        let low = try state.readForWrite(linear, size: 8)
        let high = try state.readForWrite(linear &+ 8, size: 8)
        let isEqual = low == state.general.rax && high == state.general.rdx
        // The processor writes in either case.
        let writes = [
            try state.write(linear, isEqual ? state.general.rbx : low, size: 8),
            try state.write(linear &+ 8, isEqual ? state.general.rcx : high, size: 8),
        ]
        if !isEqual { (state.general.rax, state.general.rdx) = (low, high) }
        set(&state.general.rflags, .zf, isEqual)
        state.commit(writes)
    }

    // MARK: LAR and LSL

    static let loadAccessRights: Body = { state, instruction throws(AssistFailure) in
        let types: Set<UInt8> = state.isLong ? [2, 9, 11, 12] : [1, 2, 3, 4, 5, 9, 11, 12]
        let low = try visible(state, instruction, types)
        set(&state.general.rflags, .zf, low != nil)
        guard let low else { return }
        put(&state, instruction, low >> 32 & 0x00F0_FF00)
    }

    static let loadLimit: Body = { state, instruction throws(AssistFailure) in
        let types: Set<UInt8> = state.isLong ? [2, 9, 11] : [1, 2, 3, 9, 11]
        let low = try visible(state, instruction, types)
        set(&state.general.rflags, .zf, low != nil)
        guard let low else { return }
        put(&state, instruction, UInt64(Segment(loading: low, selector: 0, inLongMode: state.isLong).limit))
    }

    private static func put(_ state: inout AssistState, _ instruction: AssistInstruction, _ value: UInt64) {
        let old = state.general[instruction.register]
        state.general[instruction.register] =
            instruction.operandSize == 2 ? old & ~0xFFFF | value & 0xFFFF : value
    }

    /// The descriptor that the operand selects, where the code may see it and it is of a type that counts.
    private static func visible(
        _ state: AssistState, _ instruction: AssistInstruction, _ types: Set<UInt8>
    ) throws(AssistFailure) -> UInt64? {
        guard state.hasDescriptors else { throw .fault(.undefined) }
        let selector: UInt16
        if let operand = instruction.address {
            let linear = try state.linear(operand.segment, operand.offset, size: 2, isWrite: false)
            selector = UInt16(try state.read(linear, size: 2))
        } else {
            selector = UInt16(truncatingIfNeeded: state.general[instruction.operand])
        }
        guard selector & ~3 != 0, let low = try state.descriptor(selector) else { return nil }
        let attributes = Segment(loading: low, selector: selector, inLongMode: state.isLong).attributes
        guard attributes.isCodeOrData || types.contains(attributes.type) else { return nil }
        guard attributes.isConforming || attributes.privilege >= max(state.cpl, UInt8(selector & 3)) else {
            return nil
        }
        return low
    }
}
