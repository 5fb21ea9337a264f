import DebugTarget
import Debugger
import KVMCore
import X86

/// `set` for the interrupt controllers and the timer.
enum ChipEdits {
    static func setLAPIC(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let offset: UInt64
        if let field = state.field {
            func key(_ name: String) -> String { name.lowercased().filter { $0.isLetter || $0.isNumber } }
            guard let register = LocalAPICRegister.all.first(where: { key($0.name) == key(field) }) else {
                let names = LocalAPICRegister.all.map { $0.name.lowercased() }
                throw call.error(
                    "the local APIC has no register `\(field)`", at: left,
                    suggestion: nearest(to: field, in: names).map { "lapic.\($0)" },
                    remedy: "`info lapic` lists them")
            }
            offset = UInt64(register.offset)
        } else {
            offset = try StateEdits.index(state, session, call, left, example: "lapic[0x80] = 0x20")
        }
        guard offset < UInt64(LocalAPICState.size), offset % 16 == 0 else {
            throw call.error(
                "\(Hex(offset)) is no register of the local APIC", at: left,
                remedy: "give a multiple of 0x10 below 0x400")
        }
        let value = try value(right, max: UInt64(UInt32.max), session, call)
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setLocalAPIC(register: Int(offset), UInt32(value))
        }
        let now = try call.perform { () throws(DebuggerError) in try session.debugger.localAPIC() }
        return .done(LocalAPICOutput(vcpu: session.debugger.selectedVCPU, now))
    }

    static func setIOAPIC(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let chips = try session.chips(call)
        var chip = try chips.ioapicState(call)
        let value = try session.number(right, call)
        switch state.field {
        case "id" where state.index == nil: chip.id = UInt32(truncatingIfNeeded: value)
        case "irr" where state.index == nil: chip.irr = UInt32(truncatingIfNeeded: value)
        case nil:
            let pin = try StateEdits.index(state, session, call, left, example: "ioapic[4] = 0x10000")
            guard pin < UInt64(chip.redirections.count) else {
                throw call.error("the I/O APIC has pins 0 to \(chip.redirections.count - 1)", at: left)
            }
            chip.redirections[Int(pin)] = IOAPICState.Redirection(rawValue: value)
        default:
            throw call.error(
                "the I/O APIC has no `\(state.field ?? "")`", at: left,
                remedy: "ioapic[PIN], ioapic.id, ioapic.irr")
        }
        let target = try chips.editing(call)
        try Chips.lift(call, at: left) { () throws(KVMError) in try target.setIOAPICState(chip) }
        return .done(try SystemActions.ioapicOutput(session, call))
    }

    static func setPIC(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let chips = try session.chips(call)
        let chip: PIC
        if let index = state.index {
            let number = try session.number(index, call)
            guard let found = PIC.allCases.first(where: { UInt64($0.rawValue) == number }) else {
                throw call.error("there are two controllers, 0 and 1", at: index)
            }
            chip = found
        } else {
            chip = state.name == "pic1" ? .slave : .master
        }
        guard let field = PICField.all.first(where: { $0.name == state.field }) else {
            throw call.error(
                "an i8259 has no field `\(state.field ?? "")`", at: left,
                suggestion: state.field.flatMap { nearest(to: $0, in: PICField.all.map(\.name)) },
                remedy: "one of: " + PICField.all.map(\.name).joined(separator: ", "))
        }
        let value = try value(right, max: 255, session, call)
        var registers = try chips.picState(chip, call)
        registers[keyPath: field.path] = UInt8(value)
        let target = try chips.editing(call)
        try Chips.lift(call, at: left) { () throws(KVMError) in try target.setPICState(chip, registers) }
        return .done(try SystemActions.picOutput(session, call))
    }

    static func setPIT(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let chips = try session.chips(call)
        var timer = try chips.pitState(call)
        let number = try StateEdits.index(state, session, call, left, example: "pit[0].count = 11932")
        guard number < UInt64(timer.channels.count) else {
            throw call.error("the timer has channels 0 to \(timer.channels.count - 1)", at: left)
        }
        let value = try session.number(right, call)
        guard let field = state.field, PITField.names.contains(field) else {
            throw call.error(
                "a channel has no field `\(state.field ?? "")`", at: left,
                remedy: "one of: " + PITField.names.joined(separator: ", "))
        }
        guard PITField.set(field, value, in: &timer.channels[Int(number)]) else {
            throw call.error("\(value) cannot be its \(field)", at: right)
        }
        let target = try chips.editing(call)
        try Chips.lift(call, at: left) { () throws(KVMError) in try target.setPITState(timer) }
        return .done(try SystemActions.pitOutput(session, call))
    }

    static func value(
        _ argument: Argument, max: UInt64, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> UInt64 {
        let value = try session.number(argument, call)
        guard value <= max else {
            throw call.error("\(Hex(value)) is too large; the largest is \(Hex(max))", at: argument)
        }
        return value
    }
}

/// `set` for the x87, SSE and AVX registers.
enum FloatingEdits {
    static func set(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        guard state.field == nil, state.index == nil else {
            throw call.error("`\(state.name)` is set whole", at: left, remedy: "set \(state.name) = 0x...")
        }
        if let (kind, number) = StateName.vector(state.name) {
            return try setVector(kind, number, session, call, left, right)
        }
        if state.name == "pkru" {
            let value = try ChipEdits.value(right, max: UInt64(UInt32.max), session, call)
            return try setComponent(9, offset: 0, bytes(value, 4), session, call, left)
        }
        let limit: UInt64 =
            state.name == "mxcsr" ? 0xFFFF_FFFF : ["ftw", "ftag"].contains(state.name) ? 0xFF : 0xFFFF
        let value = try ChipEdits.value(right, max: limit, session, call)
        return try change(session, call, left, showsSSE: state.name == "mxcsr") { fpu in
            switch state.name {
            case "mxcsr": fpu.mxcsr = UInt32(value)
            case "fcw", "fctrl": fpu.controlWord = UInt16(value)
            case "fsw", "fstat": fpu.statusWord = UInt16(value)
            default: fpu.tagWord = UInt8(value)
            }
        }
    }

    private static func setVector(
        _ kind: String, _ number: Int, _ session: Session, _ call: Invocation, _ left: Argument,
        _ right: Argument
    ) throws(CommandError) -> Outcome {
        let width = ["xmm": 16, "ymm": 32, "st": 10, "mm": 8][kind] ?? 16
        let value = try wide(right, width, session, call)
        if kind == "ymm" {
            _ = try setComponent(2, offset: number * 16, Array(value[16...]), session, call, left)
            return try setComponent(1, offset: number * 16, Array(value[..<16]), session, call, left)
        }
        return try change(session, call, left, showsSSE: kind == "xmm") { fpu in
            var slot = FPURegisters.Slot.zero
            for (place, byte) in value.enumerated() { slot[place] = byte }
            if kind == "xmm" {
                fpu.xmm[number] = slot
            } else {
                // An MMX register is the low part of an x87 register, with ones above.
                if kind == "mm" { (slot[8], slot[9]) = (0xFF, 0xFF) }
                // MM registers do not turn with the top of the stack.
                let top = Int(fpu.statusWord >> 11 & 7)
                let place = kind == "mm" ? (number - top) & 7 : number
                fpu.st[place] = slot
                fpu.tagWord |= 1 << UInt8(kind == "mm" ? number : (top + number) & 7)
            }
        }
    }

    private static func setComponent(
        _ component: Int, offset: Int, _ bytes: [UInt8], _ session: Session, _ call: Invocation,
        _ left: Argument
    ) throws(CommandError) -> Outcome {
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setExtendedState(component: component, offset: offset, bytes)
        }
        return .done(try SystemActions.extendedStateOutput(session, call))
    }

    private static func change(
        _ session: Session, _ call: Invocation, _ left: Argument, showsSSE: Bool,
        _ body: (inout FPURegisters) -> Void
    ) throws(CommandError) -> Outcome {
        var fpu = try call.perform(at: left) { () throws(DebuggerError) in try session.debugger.fpu() }
        body(&fpu)
        let new = fpu
        try call.perform(at: left) { () throws(DebuggerError) in try session.debugger.setFPU(new) }
        let now = try call.perform { () throws(DebuggerError) in try session.debugger.fpu() }
        let vcpu = session.debugger.selectedVCPU
        return .done(
            showsSSE
                ? XMMOutput(vcpu: vcpu, registers: now.xmm, mxcsr: now.mxcsr)
                : FPUOutput(vcpu: vcpu, fpu: now))
    }

    /// A number as wide as a register, the lowest byte first: `0x` with as many digits as it takes, or an
    /// expression of 64 bits.
    private static func wide(
        _ argument: Argument, _ width: Int, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [UInt8] {
        let text = argument.text.lowercased().filter { $0 != "_" }
        guard text.hasPrefix("0x"), text.count > 18, text.dropFirst(2).allSatisfy(\.isHexDigit) else {
            return bytes(try session.number(argument, call), width)
        }
        var digits = Array(text.dropFirst(2).drop { $0 == "0" })
        guard digits.count <= width * 2 else {
            throw call.error("the register has \(width * 8) bits", at: argument)
        }
        if digits.count % 2 == 1 { digits.insert("0", at: 0) }
        var value = stride(from: 0, to: digits.count, by: 2).reversed().map {
            UInt8(String(digits[$0..<$0 + 2]), radix: 16) ?? 0
        }
        value += [UInt8](repeating: 0, count: width - value.count)
        return value
    }

    private static func bytes(_ value: UInt64, _ width: Int) -> [UInt8] {
        (0..<width).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) : 0 }
    }
}
