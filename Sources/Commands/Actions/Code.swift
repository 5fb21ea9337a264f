import DebugTarget
import Debugger
import X86

extension CommandTable {
    static let codeCommands: [Command] = [
        Command(
            "disassemble", ["u", "disas", "unassemble"], "[ADDR[, END | , +LEN]]", .code,
            "decode instructions",
            details: """
                Decoded as the mode of the selected vCPU has it: 16, 32 or 64-bit. Without ADDR from the next \
                instruction on; Enter goes on after the last. FMT is a count, 10 if none is given, or GDB's `s` (or \
                `m`): each source line above its code. `ADDR, END` and `ADDR, +LEN` are all instructions that begin \
                in that range, END not in it.
                """,
            examples: [
                .init("u/5", "the next five"), .init("u/20 0:7c00", "twenty from there"),
                .init("disas 0x7c00, +16", "a range"), .init("disas/s", "with the source lines"),
            ],
            completion: [.expression], repeatable: true, format: true, whileRunning: true,
            action: CodeActions.disassemble),
        Command(
            "print-stack", ["stack", "info stack"], "[N]", .code, "show N words at SS:SP",
            details: "Words are as wide as a PUSH of the mode: 2, 4 or 8 bytes. 16 if no N is given.",
            completion: [.expression], whileRunning: true, action: CodeActions.stack),
    ]
}

extension Session {
    /// Whether a word is an address by itself, and no part of an expression.
    fileprivate func isAddress(_ text: String) -> Bool {
        guard let first = text.first, first.isLetter || first.isNumber || first == "$" else { return false }
        return (try? debugger.address(text)) != nil
    }
}

enum CodeActions {
    static func disassemble(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (format, withSource) = try Self.format(call)
        guard format.unit == nil, format.letter == nil || format.letter == .instruction else {
            throw call.error("`disassemble` takes a count alone", at: call.format)
        }
        if !call.isRepeat, let comma = call.rest.comma {
            guard format.count == nil else {
                throw call.error("a range says itself how much: no count with it", at: call.format)
            }
            return try range(session, call, comma, withSource: withSource)
        }
        // Bochs: `u START END`, without a comma.
        let words = call.arguments
        if !call.isRepeat, call.format == nil, words.count == 2,
            words.allSatisfy({ session.isAddress($0.text) })
        {
            let address = try session.location(words[0], call)
            let count = try session.length(from: address, to: words[1], call)
            guard count <= 1 << 20 else { throw call.error("at most 1 MiB at once", at: words[1]) }
            return try list(session, call, at: address, words[0], count: Int(count), bytes: count)
        }
        // Bochs: `u` goes on with Enter; typed anew, it starts at the next instruction.
        return try list(
            session, call, count: format.count ?? 10, goesOn: call.isRepeat, withSource: withSource)
    }

    /// GDB's modifiers: `/s` and `/m` show source lines, and `/r` the bytes, which are shown in any case.
    private static func format(_ call: Invocation) throws(CommandError) -> (DisplayFormat, withSource: Bool) {
        guard let text = call.format?.text, !text.isEmpty, text.allSatisfy({ "rsm".contains($0) }) else {
            return (try DisplayFormat(call.format, in: call), false)
        }
        return (DisplayFormat(), text.contains { $0 != "r" })
    }

    /// Instructions that begin in a range.
    private static func range(
        _ session: Session, _ call: Invocation, _ comma: Int, withSource: Bool
    ) throws(CommandError) -> Outcome {
        let (start, end) = call.rest.parts(at: comma)
        let address = try session.location(start, call)
        let count = try session.length(from: address, to: end, call)
        guard count <= 1 << 20 else { throw call.error("at most 1 MiB at once", at: end) }
        return try list(
            session, call, at: address, start, count: Int(count), bytes: count, withSource: withSource)
    }

    /// Instructions at the address given or, if `goesOn`, after those shown last.
    static func list(
        _ session: Session, _ call: Invocation, count: Int, goesOn: Bool, withSource: Bool = false
    ) throws(CommandError) -> Outcome {
        let address: Address?
        if goesOn, let next = session.examine.nextCode {
            address = next
        } else if call.rest.text.isEmpty {
            address = nil
        } else {
            address = try session.location(call.rest, call)
        }
        guard count <= 100_000 else {
            throw call.error("at most 100,000 instructions at once", at: call.format)
        }
        return try list(session, call, at: address, call.rest, count: count, withSource: withSource)
    }

    /// So many instructions are decoded between two looks at whether to go on.
    private static let slice = 1000

    /// - Parameters:
    ///   - place: where the address was given.
    ///   - bytes: no instruction that begins so far from the first one.
    private static func list(
        _ session: Session, _ call: Invocation, at address: Address?, _ place: Argument, count: Int,
        bytes: UInt64 = .max, withSource: Bool = false
    ) throws(CommandError) -> Outcome {
        var lines: [CodeLine] = []
        var isCut = false
        while lines.count < count, !isCut {
            // In the form that was given: SEG:OFF stays that.
            var start = address
            if let first = lines.first, let last = lines.last {
                let done = last.address &+ UInt64(max(1, last.bytes.count)) &- first.address
                start = (address ?? .linear(first.address)).advanced(by: Int(clamping: done))
            }
            let wanted = min(slice, count - lines.count)
            let more = try call.perform(at: place) { () throws(DebuggerError) in
                try session.debugger.disassemble(at: start, count: wanted)
            }
            lines += more
            guard more.count == wanted, let first = lines.first, let last = more.last,
                last.address &- first.address < bytes
            else { break }
            isCut = lines.count < count && session.shouldStop()
        }
        if let first = lines.first {
            lines = Array(lines.prefix { $0.address &- first.address < bytes })
            if first.instruction == nil {
                let image = try call.perform(at: place) { () throws(DebuggerError) in
                    try session.debugger.readMemory(.linear(first.address), count: 1)
                }
                try call.checkReadable(image, at: place)
            }
        }
        if let last = lines.last {
            session.examine.nextCode = .linear(last.address &+ UInt64(max(1, last.bytes.count)))
        }
        let next = session.isRunning ? nil : session.debugger.selected.pc
        let breakpoints = lines.map(\.address).filter {
            session.debugger.breakpoint(atLinear: $0)?.isEnabled ?? false
        }
        return .done(
            CodeOutput(
                vcpu: session.debugger.selectedVCPU, lines, next: next, breakpoints: Set(breakpoints),
                digits: session.debugger.selected.mode.offsetDigits, isCut: isCut,
                source: withSource ? session.source(of:) : nil))
    }

    static func stack(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let count = try session.count(call, or: 16)
        guard count <= 65_536 else {
            throw call.error("at most 65,536 words at once", at: call.rest)
        }
        let slots = try call.perform { () throws(DebuggerError) in try session.debugger.stack(count: count) }
        if let first = slots.first, slots.allSatisfy({ $0.value == nil }) {
            throw call.error("the stack at \(Hex(first.linear)) cannot be read")
        }
        return .done(
            StackOutput(
                vcpu: session.debugger.selectedVCPU, slots,
                digits: session.debugger.selected.mode.offsetDigits))
    }
}
