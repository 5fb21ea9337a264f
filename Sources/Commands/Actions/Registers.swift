import DebugTarget
import Debugger
import Expressions
import KVMCore
import X86

extension CommandTable {
    static let registerCommands: [Command] = [
        Command(
            "info registers", ["regs", "reg", "registers", "info r"], "[NAME...]", .registers,
            "show the general registers and flags, or those named",
            details: """
                What changed since the stop before has a `*`. Flags that are set are in upper case. Any register \
                can be named: `eax`, `cs.base`, `cr0.pe`, `zf`, `dr7`.
                """,
            examples: [.init("regs", "all of them"), .init("info registers rax cs.base", "those two")],
            completion: [.register], whileRunning: true, action: RegisterActions.general),
        Command(
            "sregs", ["sreg", "info sregs", "info segments"], "", .registers,
            "show segments and descriptor tables", whileRunning: true, action: RegisterActions.segments),
        Command(
            "creg", ["cregs", "info cregs"], "", .registers, "show the control registers and EFER, decoded",
            whileRunning: true, action: RegisterActions.control),
        Command(
            "dreg", ["dregs", "info dregs", "info debugregs"], "", .registers,
            "show the guest's debug registers, decoded",
            details: "These are the guest's own; breakpoints of this debugger do not show in them.",
            whileRunning: true, action: RegisterActions.debug),
        Command(
            "fpu", ["fp", "info float"], "", .registers, "show the x87 registers", whileRunning: true,
            action: RegisterActions.fpu),
        Command(
            "xmm", ["sse", "info vector"], "", .registers, "show the SSE registers", whileRunning: true,
            action: RegisterActions.xmm),
        Command(
            "set", ["set var"], "$REG = EXPR", .registers, "set a register, a flag or memory",
            details: """
                Works while the guest runs too. A segment register in protected mode loads its descriptor as the \
                processor would; `sregs set` edits the hidden part alone. A part of a register leaves its other \
                bits. With a type, memory: `set *(u16*)ADDR = EXPR`. A value that the processor would refuse \
                changes nothing. Other state that KVM lets be set: `msr[INDEX]`, `xcr0`, `xmm0`, `ymm0`, `st0`, \
                `mxcsr`, `pkru`, `events.FIELD`, `mp`, `lapic[OFFSET]`, `ioapic[PIN]`, `pic0.FIELD`, `pit[N].FIELD`, \
                `gdt[N]`, `ldt[N]`, `idt[N]`, `ivt[N]`, `cpuid[LEAF].REG`. A name with `$` that no \
                register has is a variable of yours.
                """,
            examples: [
                .init("set $rax = $rbx + 1", "a register"), .init("set zf = 1", "a flag"),
                .init("set $ds = 0x40", "a segment and its base"), .init("set cr0.pe = 1", "a bit of CR0"),
                .init("set *(u8*)0x7c00 = 0x90", "a byte of memory"), .init("set $n = 0", "a variable"),
                .init("set msr[0xC0000080] = 0x500", "an MSR"), .init("set mp = halted", "the MP state"),
            ],
            completion: [.settable, .expression], whileRunning: true, action: RegisterActions.set),
        Command(
            "sregs set", ["sreg set"], "SEG.FIELD = EXPR", .registers,
            "set a hidden part of a segment register",
            details: """
                Fields: selector, base, limit, attr, type, s, dpl, p, avl, l, db, g, unusable; and base and limit of \
                gdtr and idtr. Nothing else follows the change.
                """,
            examples: [.init("sregs set cs.base = 0xffff0000", "as after a reset")],
            completion: [.register, .expression], whileRunning: true, action: RegisterActions.setRaw),
    ]
}

enum RegisterActions {
    static func general(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let names = call.arguments
        guard names.isEmpty else {
            var entries: [NamedRegisters.Entry] = []
            for argument in names { entries.append(try session.register(argument, call)) }
            return .done(NamedRegisters(vcpu: session.debugger.selectedVCPU, registers: entries))
        }
        let (now, before) = try session.snapshots(call)
        return .done(RegistersOutput(now, since: before))
    }

    static func segments(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let (now, before) = try session.snapshots(call)
        return .done(SegmentsOutput(now, since: before))
    }

    static func control(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let (now, before) = try session.snapshots(call)
        return .done(ControlRegistersOutput(now, since: before))
    }

    static func debug(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let registers = try call.perform { () throws(DebuggerError) in
            try session.debugger.debugRegisters()
        }
        return .done(DebugRegistersOutput(vcpu: session.debugger.selectedVCPU, registers))
    }

    static func fpu(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let fpu = try call.perform { () throws(DebuggerError) in try session.debugger.fpu() }
        return .done(FPUOutput(vcpu: session.debugger.selectedVCPU, fpu: fpu))
    }

    static func xmm(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let fpu = try call.perform { () throws(DebuggerError) in try session.debugger.fpu() }
        return .done(
            XMMOutput(vcpu: session.debugger.selectedVCPU, registers: fpu.xmm, mxcsr: fpu.mxcsr))
    }

    static func set(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        if !call.rest.text.contains("="), call.rest.text.hasSuffix("++") || call.rest.text.hasSuffix("--"),
            let assigned = try assign(session, call, call.rest, call.rest)
        {
            return .done(assigned)
        }
        let (left, right) = try assignment(call)
        if left.text.hasPrefix("*") { return try MemoryActions.assign(session, call, left, right) }
        if let state = StateName(left) { return try StateEdits.set(state, session, call, left, right) }
        if RegisterName(left.text) == nil, let assigned = try assign(session, call, left, right) {
            return .done(assigned)
        }
        return try set(session, call, left, right, raw: false)
    }

    /// `set $n = EXPR`, `set {u8}ADDR = EXPR`, `set $n += 1`: whatever else can be set. Nil where `left` is a name
    /// that nothing has.
    private static func assign(
        _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Assigned? {
        let isName = left.text.utf8.allSatisfy {
            $0 == 0x5F || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 < 0x3A && $0 > 0x2F
        }
        guard !isName else { return nil }
        let name = String(left.text.reversed().drop { " +-*/%&|^<>".contains($0) }.reversed())
        let isNew = !name.hasPrefix("$") || !session.debugger.hasVariable(String(name.dropFirst()))
        // `set NAME VALUE` has no sign.
        let isSpelled =
            call.rest.text.contains("=") || call.rest.text.contains("++") || call.rest.text.contains("--")
        let value = try call.perform(at: isSpelled ? call.rest : left) { () throws(DebuggerError) in
            guard !isSpelled else { return try session.debugger.evaluate(call.rest.text) }
            let start = "\(left.text) = "
            do throws(DebuggerError) {
                return try session.debugger.evaluate(start + right.text)
            } catch {
                // The value stands elsewhere in the line than in what was put together.
                var moved = error
                moved.column = error.column.map { column in
                    column < start.count
                        ? min(column, left.text.count) : column - start.count + right.column - left.column
                }
                throw moved
            }
        }
        let near =
            isNew && name.count > 3 && RegisterName(name) == nil
            ? RegisterName.suggestions(for: name).first : nil
        return Assigned(
            name: name, value: Hex(value.cut), text: PrintOutput.text(value, nil),
            note: near.map {
                "It is a variable, and a new one: there is no such register; did you mean $\($0)?"
            })
    }

    static func setRaw(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (left, right) = try assignment(call)
        if let name = RegisterName(left.text), ![.segment, .table].contains(name.group) {
            throw call.error(
                "`\(name.name)` is not part of a segment register", at: left,
                remedy: "set $\(name.name) = \(right.text)")
        }
        return try set(session, call, left, right, raw: true)
    }

    private static func set(
        _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument, raw: Bool
    ) throws(CommandError) -> Outcome {
        // The name is checked before the value is looked at: the caret belongs to the first thing wrong.
        _ = try session.registerName(left, call)
        let value = try session.number(right, call)
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setRegister(left.text, to: value, raw: raw)
        }
        let entry = try session.register(left, call)
        return .done(NamedRegisters(vcpu: session.debugger.selectedVCPU, registers: [entry]))
    }

    /// The two sides of `LEFT = RIGHT`. Bochs' and GDB's scripts also say `set REG VALUE`.
    static func assignment(_ call: Invocation) throws(CommandError) -> (Argument, Argument) {
        let text = Array(call.rest.text)
        let sign = text.indices.first { index in
            text[index] == "=" && (index + 1 == text.count || text[index + 1] != "=")
                && (index == 0 || !"=!<>".contains(text[index - 1]))
        }
        let split: (left: Range<Int>, right: Range<Int>)
        if let sign {
            split = (0..<sign, (sign + 1)..<text.count)
        } else if let space = text.firstIndex(where: \.isWhitespace) {
            split = (0..<space, (space + 1)..<text.count)
        } else {
            throw call.usageError("`\(call.command.name)` needs a name and a value")
        }
        let left = trimmed(text, split.left, call)
        let right = trimmed(text, split.right, call)
        guard !left.text.isEmpty else { throw call.usageError("there is no name before the `=`", at: left) }
        guard !right.text.isEmpty else { throw call.usageError("there is no value", at: right) }
        return (left, right)
    }

    private static func trimmed(_ text: [Character], _ range: Range<Int>, _ call: Invocation) -> Argument {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, text[start].isWhitespace { start += 1 }
        while end > start, text[end - 1].isWhitespace { end -= 1 }
        return Argument(text: String(text[start..<end]), column: call.rest.column + start)
    }
}

extension Session {
    /// The selected vCPU now and at the stop before. While the guest runs, it is read as it runs, and is
    /// compared with the last stop.
    func snapshots(_ call: Invocation) throws(CommandError) -> (VCPUSnapshot, VCPUSnapshot?) {
        let id = debugger.selectedVCPU
        if isRunning {
            let live = try call.perform { () throws(DebuggerError) in try debugger.liveSnapshot() }
            return (live, debugger.stop[id])
        }
        return (debugger.selected, debugger.previousStop?[id])
    }

    /// The register that an argument names.
    func registerName(_ argument: Argument, _ call: Invocation) throws(CommandError) -> RegisterName {
        do {
            return try RegisterName(parsing: argument.text)
        } catch {
            throw call.error(
                "there is no register `\(argument.text.shortened)`", at: argument,
                suggestion: error.suggestions.first, remedy: "`help info registers` says what a name may be")
        }
    }

    /// A register by name with its value.
    func register(_ argument: Argument, _ call: Invocation) throws(CommandError) -> NamedRegisters.Entry {
        let name = try registerName(argument, call)
        let value = try call.perform(at: argument) { () throws(DebuggerError) in
            try debugger.registerValue(name.name).bits
        }
        return NamedRegisters.Entry(
            name: name.name, value: Hex(value), flags: flagNames(name.name, value),
            digits: (name.width + 3) / 4)
    }

    private func flagNames(_ name: String, _ value: UInt64) -> [String]? {
        switch name {
        case "rflags", "eflags", "flags": RFlags(rawValue: value).setNames
        case "cr0": CR0(rawValue: value).setNames
        case "cr4": CR4(rawValue: value).setNames
        case "efer": EFER(rawValue: value).setNames
        case "dr6": DR6(rawValue: value).setNames
        case "dr7": DR7(rawValue: value).setNames
        default: nil
        }
    }
}
