import DebugTarget
import Debugger
import X86

extension CommandTable {
    static let tableCommands: [Command] = [
        Command(
            "info gdt", [], "[INDEX [LAST]]", .tables, "show the global descriptor table, decoded",
            details: """
                With the segment registers that hold each selector. Null entries are left out unless an index is \
                given. An entry is set with `set gdt[INDEX] = VALUE`.
                """,
            examples: [.init("info gdt", "all"), .init("info gdt 1 3", "entries 1 to 3")],
            completion: [.expression], whileRunning: true,
            action: { session, call throws(CommandError) in try TableActions.table(session, call, .gdt) }),
        Command(
            "info ldt", [], "[INDEX [LAST]]", .tables, "show the local descriptor table, decoded",
            completion: [.expression], whileRunning: true,
            action: { session, call throws(CommandError) in try TableActions.table(session, call, .ldt) }),
        Command(
            "info idt", [], "[VECTOR [LAST]]", .tables, "show the interrupt descriptor table, decoded",
            details: "In real mode it is the interrupt vector table.",
            examples: [.init("info idt 0xe", "the page fault's gate")],
            completion: [.expression], whileRunning: true, action: TableActions.interrupts),
        Command(
            "info ivt", [], "[VECTOR [LAST]]", .tables, "show real mode's interrupt vectors",
            details: "Far pointers from the IDTR's base on. One is set with `set ivt[VECTOR] = SEG:OFF`.",
            completion: [.expression], whileRunning: true,
            action: { session, call throws(CommandError) in try TableActions.table(session, call, .ivt) }),
        Command(
            "info tss", [], "", .tables, "show the task state that TR names",
            whileRunning: true, action: TableActions.taskState),
    ]
}

enum TableActions {
    static func interrupts(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let mode = session.isRunning ? nil : session.debugger.selected.mode
        return try table(session, call, mode == .real ? .ivt : .idt)
    }

    static func table(
        _ session: Session, _ call: Invocation, _ name: TableName
    ) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        var first = 0
        var count = name == .ivt || name == .idt ? 256 : 512
        if let argument = call.arguments.first {
            first = try index(argument, session, call)
            count = 1
            if call.arguments.count > 1 {
                let last = try index(call.arguments[1], session, call)
                guard last >= first else {
                    throw call.error("the last comes before the first", at: call.arguments[1])
                }
                count = last - first + 1
            }
        }
        let view = try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.table(name, from: first, count: count)
        }
        if view.entries.isEmpty, let argument = call.arguments.first, view.unreadable == nil {
            throw call.error(
                "entry \(first) is beyond the \(name.rawValue.uppercased()), whose limit is \(Hex(view.limit))",
                at: argument)
        }
        if view.entries.isEmpty, let index = view.unreadable {
            throw call.error(
                "entry \(index) of the \(name.rawValue.uppercased()) at \(Hex(view.base)) cannot be read")
        }
        var shown = view
        // Asked for so many: that there are more is no news.
        if call.arguments.first != nil { shown.isCut = false }
        return .done(
            TableOutput(
                vcpu: session.debugger.selectedVCPU, shown, session.debugger.selected.special,
                showsNulls: call.arguments.first != nil))
    }

    private static func index(
        _ argument: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Int {
        let value = try session.number(argument, call)
        guard value < 16_384 else {
            throw call.error("\(session.signed(value)) is no index of a table", at: argument)
        }
        return Int(value)
    }

    static func taskState(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let (register, state) = try call.perform { () throws(DebuggerError) in
            try session.debugger.taskState()
        }
        guard state.fields.contains(where: { $0.value != nil }) else {
            throw call.error("the TSS at \(Hex(register.base)) cannot be read")
        }
        let fields = state.fields.map { field in
            FieldsOutput.Field(
                field.name, field.value.map { Hex($0) }, digits: field.width * 2,
                field.value == nil
                    ? "cannot be read"
                    : UInt64(field.offset + field.width - 1) > UInt64(register.limit)
                        ? "beyond the limit"
                        : field.name == "iomap" && field.value.map { $0 > UInt64(register.limit) } == true
                            ? "beyond the limit: no I/O map" : nil)
        }
        let vcpu = session.debugger.selectedVCPU
        return .done(
            FieldsOutput(
                "\(state.format.rawValue) TSS of vCPU \(vcpu): base \(Hex(register.base)) limit "
                    + "\(Hex(register.limit))", vcpu: vcpu, fields: fields))
    }
}
