import DebugTarget
import Debugger
import Expressions
import KVMCore
import X86

/// What stands before the `=` of `set` where it is no register: `msr[0x1b]`, `events.nmi.pending`, `gdt[2].high`.
struct StateName: Hashable {
    /// In small letters.
    var name: String
    /// What stands between brackets.
    var index: Argument?
    /// What stands after the dot, in small letters.
    var field: String?

    /// Names that a table, a chip or a state has.
    static let names: Set<String> = [
        "msr", "lapic", "apic", "ioapic", "pic", "pic0", "pic1", "pit", "gdt", "ldt", "idt", "ivt", "events",
        "mp", "mp_state", "mpstate", "xcr", "xcr0", "cpuid", "mxcsr", "pkru", "fcw", "fctrl", "fsw", "fstat",
        "ftw", "ftag",
    ]

    /// What completion offers.
    static let spellings: [String] = {
        let indexed = ["msr[", "lapic[", "ioapic[", "pit[", "gdt[", "ldt[", "idt[", "ivt[", "cpuid[", "xcr["]
        let registers = (0..<16).flatMap { ["xmm\($0)", "ymm\($0)"] } + (0..<8).map { "st\($0)" }
        return indexed + ["mp", "xcr0", "mxcsr", "pkru", "fcw", "fsw", "ftw"] + registers
            + EventField.all.map { "events.\($0.name)" }
            + PICField.all.flatMap { ["pic0.\($0.name)", "pic1.\($0.name)"] }
    }()

    /// Nil for what is none of these.
    init?(_ argument: Argument) {
        let text = Array(argument.text)
        var place = text.first == "$" ? 1 : 0
        let start = place
        while place < text.count, text[place].isLetter || text[place].isNumber || text[place] == "_" {
            place += 1
        }
        name = String(text[start..<place]).lowercased()
        guard Self.names.contains(name) || Self.vector(name) != nil else { return nil }
        // `msr efer`, as others write it.
        if name == "msr", place < text.count, text[place].isWhitespace {
            while place < text.count, text[place].isWhitespace { place += 1 }
            index = Argument(text: String(text[place...]), column: argument.column + place)
            return
        }
        while place < text.count, text[place].isWhitespace { place += 1 }
        if place < text.count, text[place] == "[" {
            guard let end = text[place...].lastIndex(of: "]") else { return nil }
            index = Argument(text: String(text[(place + 1)..<end]), column: argument.column + place + 1)
            place = end + 1
        }
        if place < text.count {
            guard text[place] == "." else { return nil }
            field = String(text[(place + 1)...]).lowercased()
        }
    }

    /// The number of `xmm3`, `ymm3` or `st3`, and which.
    static func vector(_ name: String) -> (kind: String, number: Int)? {
        for (kind, count) in [("xmm", 16), ("ymm", 16), ("st", 8), ("mm", 8)] where name.hasPrefix(kind) {
            guard let number = Int(name.dropFirst(kind.count)), (0..<count).contains(number),
                name == "\(kind)\(number)"
            else { continue }
            return (kind, number)
        }
        return nil
    }
}

enum StateEdits {
    static func set(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        switch state.name {
        case "msr": return try setMSR(state, session, call, left, right)
        case "events": return try setEvent(state, session, call, left, right)
        case "mp", "mp_state", "mpstate": return try setMP(session, call, right)
        case "xcr", "xcr0": return try setXCR(state, session, call, left, right)
        case "cpuid": return try setCPUID(state, session, call, left, right)
        case "lapic", "apic": return try ChipEdits.setLAPIC(state, session, call, left, right)
        case "ioapic": return try ChipEdits.setIOAPIC(state, session, call, left, right)
        case "pic", "pic0", "pic1": return try ChipEdits.setPIC(state, session, call, left, right)
        case "pit": return try ChipEdits.setPIT(state, session, call, left, right)
        case "gdt", "ldt", "idt", "ivt": return try setDescriptor(state, session, call, left, right)
        default: return try FloatingEdits.set(state, session, call, left, right)
        }
    }

    /// The index in brackets, which has to be there.
    static func index(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, example: String
    ) throws(CommandError) -> UInt64 {
        guard let index = state.index, !index.text.isEmpty else {
            throw call.error(
                "`\(left.text.shortened)` needs an index in brackets", at: left,
                remedy: "as in: set \(example)")
        }
        return try session.number(index, call)
    }

    private static func setMSR(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let named = state.field.map {
            Argument(text: $0, column: left.column + left.text.count - $0.count)
        }
        guard let argument = state.index ?? named else {
            throw call.error("which MSR?", at: left, remedy: "as in: set msr[0xC0000080] = 0x500")
        }
        let index = try SystemActions.msrIndex(argument, session, call)
        return try SystemActions.setMSR(index, try session.number(right, call), session, call, left)
    }

    private static func setEvent(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        guard let name = state.field, let field = EventField(name) else {
            let names = EventField.all.map(\.name)
            throw call.error(
                "there is no event `\(state.field ?? "")`", at: left,
                suggestion: state.field.flatMap { nearest(to: $0, in: names) }.map { "events.\($0)" },
                remedy: "`info events` lists them")
        }
        let value = try session.number(right, call)
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setEvent(field, value)
        }
        return .done(try SystemActions.eventsOutput(session, call))
    }

    private static func setMP(
        _ session: Session, _ call: Invocation, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let word = right.text.lowercased()
        let key = word.filter { $0.isLetter || $0.isNumber }
        let state: MPState
        if let named = MPState.settable.first(where: { $0.title.lowercased().filter(\.isLetter) == key }) {
            state = named
        } else if let number = UInt64(word), number < UInt64(MPState.settable.count) {
            state = MPState.settable[Int(number)]
        } else {
            throw call.error(
                "`\(right.text.shortened)` is no state", at: right,
                remedy: "one of: " + MPState.settable.map(\.title).joined(separator: ", "))
        }
        try call.perform(at: right) { () throws(DebuggerError) in
            try session.debugger.setMPState(state)
        }
        let vcpu = session.debugger.selectedVCPU
        let now = try call.perform { () throws(DebuggerError) in try session.debugger.mpState() }
        return .done(FieldsOutput("MP states", fields: [.init("vCPU \(vcpu)", nil, now.title)]))
    }

    private static func setXCR(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let index = state.name == "xcr0" ? 0 : try index(state, session, call, left, example: "xcr[0] = 7")
        guard let number = UInt32(exactly: index) else { throw call.error("there is no such XCR", at: left) }
        let value = try session.number(right, call)
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setXCR(number, value)
        }
        return .done(try SystemActions.extendedStateOutput(session, call))
    }

    private static func setCPUID(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        guard let place = state.index, let register = state.field.flatMap(CPUIDLeaf.Register.init) else {
            throw call.error(
                "a leaf and a register are needed", at: left, remedy: "as in: set cpuid[7].ebx = 0")
        }
        let parts = place.text.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        func number(_ argument: Argument) throws(CommandError) -> UInt32 {
            let value = try session.number(argument, call)
            guard let number = UInt32(exactly: value) else {
                throw call.error("\(Hex(value)) does not fit in 32 bits", at: argument)
            }
            return number
        }
        func part(_ text: Substring) -> Argument {
            let offset = place.text.distance(from: place.text.startIndex, to: text.startIndex)
            return Argument(text: String(text), column: place.column + offset)
        }
        let function = try number(part(parts[0]))
        let index = parts.count > 1 ? try number(part(parts[1])) : 0
        let value = try number(right)
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.setCPUID(function, index, register, value)
        }
        let leaf = try call.perform { () throws(DebuggerError) in
            try session.debugger.cpuid()[function, index]
        }
        return .done(
            FieldsOutput(
                "CPUID \(Hex(function)) of vCPU \(session.debugger.selectedVCPU)",
                vcpu: session.debugger.selectedVCPU,
                fields: CPUIDLeaf.Register.allCases.map { register in
                    .init(register.rawValue, leaf.map { Hex($0[register]) }, digits: 8)
                }))
    }

    /// `set gdt[2] = 0x00cf9b000000ffff`, `set idt[14].high = 0`, `set ivt[0x10] = f000:1234`.
    private static func setDescriptor(
        _ state: StateName, _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        guard let name = TableName(rawValue: state.name) else { throw call.error("no such table", at: left) }
        let index = try index(
            state, session, call, left, example: "\(state.name)[2] = 0x00cf9b000000ffff")
        let entry = try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.tableEntry(name, index)
        }
        var address = entry.address
        switch state.field {
        case nil, "low": break
        case "high" where name != .ivt: address &+= 8
        default:
            throw call.error(
                "an entry has no part `\(state.field ?? "")`", at: left, remedy: "one of: low, high")
        }
        let value = try call.perform(at: right) { () throws(DebuggerError) in
            try session.debugger.evaluate(right.text)
        }
        var bits = value.bits
        if name == .ivt {
            if case .segmented(.selector(let selector), let offset) = value.address {
                guard offset <= 0xFFFF else { throw call.error("the offset has 16 bits", at: right) }
                bits = UInt64(selector) << 16 | offset
            }
            guard bits <= 0xFFFF_FFFF else { throw call.error("a vector is SEG:OFF, or 32 bits", at: right) }
        }
        let count = name == .ivt ? 4 : 8
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: bits >> UInt64($0 * 8)) }
        try call.perform(at: left) { () throws(DebuggerError) in
            try session.debugger.writeMemory(.linear(address), bytes)
        }
        let view = try call.perform { () throws(DebuggerError) in
            try session.debugger.table(name, from: Int(index), count: 1)
        }
        var shown = view
        shown.isCut = false
        return .done(
            TableOutput(
                vcpu: session.debugger.selectedVCPU, shown, session.debugger.selected.special,
                showsNulls: true))
    }
}
