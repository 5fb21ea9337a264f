import DebugTarget
import Debugger
import KVMCore
import X86

extension CommandTable {
    static let systemCommands: [Command] = [
        Command(
            "info cpuid", ["cpuid"], "[LEAF [INDEX]]", .tables, "show what CPUID answers, decoded",
            details: "Features by the manuals' names. Until the vCPU has run, `set cpuid[LEAF].REG = VALUE`.",
            examples: [.init("info cpuid 7", "one leaf")],
            completion: [.expression], whileRunning: true, action: SystemActions.cpuid),
        Command(
            "info msr", ["msr", "rdmsr"], "[NAME|INDEX...]", .tables,
            "show model-specific registers, decoded",
            details: """
                Without a name, all that the vCPU has and that are not 0. Names are the manual's, with or without \
                `IA32_`. One is set with `set msr[INDEX] = VALUE` or `wrmsr`.
                """,
            examples: [.init("info msr efer lstar", "two by name"), .init("rdmsr 0x1b", "one by index")],
            whileRunning: true, action: SystemActions.msr),
        Command(
            "wrmsr", [], "NAME|INDEX VALUE", .tables, "set a model-specific register",
            details: "As `set msr[INDEX] = VALUE`.", completion: [.none, .expression], whileRunning: true,
            action: SystemActions.writeMSR),
        Command(
            "info events", [], "", .tables, "show exceptions, interrupts and NMIs on their way",
            details: "A field is set with `set events.FIELD = VALUE`, as `set events.nmi.pending = 1`.",
            whileRunning: true, action: SystemActions.events),
        Command(
            "info mp", ["info mpstate"], "", .tables, "show what each vCPU waits for",
            details: """
                Of the selected vCPU it is set with `set mp = STATE`: runnable, uninitialized, init-received, halted, \
                sipi-received.
                """,
            whileRunning: true, action: SystemActions.multiprocessing),
        Command(
            "info xsave", ["xsave"], "", .tables, "show the extended state: XCR0, its components, YMM, PKRU",
            details:
                "Set with `set xcr0 = VALUE`, `set ymm0 = 0x...`, `set xmm0 = 0x...`, `set mxcsr`, `set pkru`.",
            whileRunning: true, action: SystemActions.extendedState),
        Command(
            "info ioapic", ["ioapic"], "", .exits, "show the I/O APIC",
            details: "A pin is set with `set ioapic[PIN] = VALUE`.", whileRunning: true,
            action: SystemActions.ioapic),
        Command(
            "info pic", ["pic", "info i8259"], "", .exits, "show the two i8259 interrupt controllers",
            details: "Set with `set pic0.imr = VALUE`, `set pic1.isr = VALUE`.", whileRunning: true,
            action: SystemActions.pic),
        Command(
            "info pit", ["pit"], "", .exits, "show the i8254 timer",
            details: "Set with `set pit[CHANNEL].count = VALUE`.", whileRunning: true,
            action: SystemActions.pit),
    ]
}

enum SystemActions {
    typealias Field = FieldsOutput.Field
    typealias Section = FieldsOutput.Section

    static func cpuid(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        let vcpu = session.debugger.selectedVCPU
        let table = try call.perform { () throws(DebuggerError) in try session.debugger.cpuid() }
        var leaves = table.leaves
        if let first = call.arguments.first {
            let function = try session.number(first, call)
            leaves = leaves.filter { UInt64($0.function) == function }
            if call.arguments.count > 1 {
                let index = try session.number(call.arguments[1], call)
                leaves = leaves.filter { UInt64($0.index ?? 0) == index }
            }
            guard !leaves.isEmpty else {
                throw call.error(
                    "CPUID has no such leaf", at: first, remedy: "`info cpuid` lists those there are")
            }
        }
        var sections: [Section] = []
        if call.arguments.isEmpty {
            var facts = [Field("vendor", nil, table.vendor ?? "none")]
            if let brand = table.brand { facts.append(Field("brand", nil, brand)) }
            if let version = table.version {
                facts.append(
                    Field(
                        "version", nil,
                        "family \(version.family), model \(version.model), stepping \(version.stepping)"))
            }
            if let hypervisor = table.hypervisor { facts.append(Field("hypervisor", nil, hypervisor)) }
            let features = table.pagingFeatures
            facts.append(Field("addresses", nil, "\(features.physicalAddressBits) bits physical"))
            sections.append(Section(title: nil, fields: facts))
        }
        for leaf in leaves {
            let index = leaf.index.map { "," + Hex($0).description } ?? ""
            let fields = CPUIDLeaf.Register.allCases.map {
                Field($0.rawValue, Hex(leaf[$0]), digits: 8)
            }
            var notes: [Field] = []
            if let text = leaf.text { notes.append(Field("text", nil, text)) }
            if !leaf.features.isEmpty {
                notes.append(Field("has", nil, leaf.features.joined(separator: " ")))
            }
            sections.append(
                Section(
                    title: "\(Hex(leaf.function))\(index)" + (leaf.title.map { ": \($0)" } ?? ""),
                    fields: fields + notes))
        }
        return .done(FieldsOutput("CPUID of vCPU \(vcpu)", vcpu: vcpu, sections))
    }

    // MARK: MSRs

    static func msr(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let vcpu = session.debugger.selectedVCPU
        var values: [MSRValue] = []
        if call.arguments.isEmpty {
            values = try call.perform { () throws(DebuggerError) in
                try session.debugger.msrs().filter { $0.value != 0 }
            }
        } else {
            for argument in call.arguments {
                let index = try msrIndex(argument, session, call)
                let value = try call.perform(at: argument) { () throws(DebuggerError) in
                    try session.debugger.msr(index)
                }
                values.append(MSRValue(index: index, value: value))
            }
        }
        return .done(msrOutput(vcpu, values))
    }

    static func msrOutput(_ vcpu: Int, _ values: [MSRValue]) -> FieldsOutput {
        FieldsOutput(
            "MSRs of vCPU \(vcpu)", vcpu: vcpu,
            fields: values.map { msr in
                Field(
                    Hex.padded(msr.index, width: 8) + " "
                        + (ModelSpecificRegister.name(of: msr.index) ?? "?"), Hex(msr.value), digits: 16,
                    ModelSpecificRegister.meaning(of: msr.index, msr.value))
            })
    }

    static func writeMSR(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 2 else { throw call.usageError("`wrmsr` takes a register and a value") }
        let index = try msrIndex(arguments[0], session, call)
        let value = try session.number(arguments[1], call)
        return try setMSR(index, value, session, call, arguments[0])
    }

    static func setMSR(
        _ index: UInt32, _ value: UInt64, _ session: Session, _ call: Invocation, _ place: Argument
    ) throws(CommandError) -> Outcome {
        try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.setMSR(index, value)
        }
        let now = try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.msr(index)
        }
        return .done(msrOutput(session.debugger.selectedVCPU, [MSRValue(index: index, value: now)]))
    }

    /// A name or an index.
    static func msrIndex(
        _ argument: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> UInt32 {
        if let index = ModelSpecificRegister.index(named: argument.text) { return index }
        if let first = argument.text.first, first.isLetter || first == "_", RegisterName(argument.text) == nil
        {
            throw call.error(
                "there is no MSR `\(argument.text.shortened)`", at: argument,
                suggestion: ModelSpecificRegister.suggestions(for: argument.text).first,
                remedy: "give its index: `info msr 0x1b`")
        }
        let value = try session.number(argument, call)
        guard let index = UInt32(exactly: value) else {
            throw call.error("an MSR's index has 32 bits", at: argument)
        }
        return index
    }

    // MARK: events and states

    static func events(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(try eventsOutput(session, call))
    }

    static func eventsOutput(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> FieldsOutput {
        let vcpu = session.debugger.selectedVCPU
        let events = try call.perform { () throws(DebuggerError) in try session.debugger.events() }
        return FieldsOutput(
            "Events of vCPU \(vcpu)", vcpu: vcpu,
            fields: EventField.all.map { field in
                let value = field.value(in: events)
                var meaning = field.meaning
                if field.name == "exception.nr", events.exceptionInjected || events.exceptionPending {
                    meaning += InterruptVector.exception(events.exceptionVector).map { ": \($0)" } ?? ""
                }
                return Field(field.name, Hex(value), meaning)
            })
    }

    static func multiprocessing(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        var fields: [Field] = []
        for identity in session.debugger.target.vcpus {
            let state = try call.perform { () throws(DebuggerError) in
                try session.debugger.mpState(vcpu: identity.id)
            }
            fields.append(Field("vCPU \(identity.id)", nil, state.title))
        }
        return .done(FieldsOutput("MP states", fields: fields))
    }

    static func extendedState(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(try extendedStateOutput(session, call))
    }

    static func extendedStateOutput(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> ExtendedStateOutput {
        let (xcr0, state) = try call.perform { () throws(DebuggerError) in
            try session.debugger.extendedState()
        }
        return ExtendedStateOutput(vcpu: session.debugger.selectedVCPU, xcr0, state)
    }

    // MARK: chips

    static func ioapic(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(try ioapicOutput(session, call))
    }

    static func ioapicOutput(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> FieldsOutput {
        let state = try session.chips(call).ioapicState(call)
        let pins = state.redirections.enumerated().map { pin, entry in
            let mode = DeliveryMode(rawValue: entry.deliveryMode)?.name ?? "?"
            var parts = ["vector \(Hex.padded(entry.vector, width: 2))", mode]
            parts.append("to \(entry.isLogical ? "logical " : "")\(entry.destination)")
            parts.append(entry.isLevelTriggered ? "level" : "edge")
            if entry.isActiveLow { parts.append("active low") }
            if entry.isPending { parts.append("pending") }
            if entry.remoteIRR { parts.append("remote IRR") }
            if entry.isMasked { parts.append("masked") }
            if state.irr >> UInt32(pin) & 1 == 1 { parts.append("requested") }
            return Field("pin \(pin)", Hex(entry.rawValue), digits: 16, parts.joined(separator: ", "))
        }
        return FieldsOutput(
            "I/O APIC at \(Hex(state.baseAddress))",
            [
                Section(
                    title: nil,
                    fields: [
                        Field("id", Hex(state.id)), Field("select", Hex(state.registerSelect)),
                        Field("irr", Hex(state.irr), "inputs requested"),
                    ]), Section(title: nil, fields: pins),
            ])
    }

    static func pic(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(try picOutput(session, call))
    }

    static func picOutput(_ session: Session, _ call: Invocation) throws(CommandError) -> FieldsOutput {
        let chips = try session.chips(call)
        var sections: [Section] = []
        for chip in PIC.allCases {
            let state = try chips.picState(chip, call)
            let first = chip == .master ? 0 : 8
            sections.append(
                Section(
                    title: chip == .master ? "pic0: master, IRQ 0 to 7" : "pic1: slave, IRQ 8 to 15",
                    fields: PICField.all.map { field in
                        let value = state[keyPath: field.path]
                        var meaning = field.meaning
                        if field.isInputs, value != 0 {
                            meaning +=
                                ": IRQ "
                                + (0..<8).filter { value >> UInt8($0) & 1 == 1 }
                                .map { "\($0 + first)" }.joined(separator: " ")
                        }
                        return Field(field.name, Hex(value), digits: 2, meaning)
                    }))
        }
        return FieldsOutput("i8259 interrupt controllers", sections)
    }

    static func pit(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(try pitOutput(session, call))
    }

    static func pitOutput(_ session: Session, _ call: Invocation) throws(CommandError) -> FieldsOutput {
        let state = try session.chips(call).pitState(call)
        let uses = ["IRQ 0", "memory refresh", "speaker"]
        return FieldsOutput(
            "i8254 timer, 1193182 Hz",
            state.channels.enumerated().map { number, channel in
                // A reload value of 0 counts 65536.
                let count = channel.count == 0 ? 65536 : channel.count
                let tenths = 11_931_820 / UInt64(count)
                return Section(
                    title: "channel \(number): \(number < uses.count ? uses[number] : "")",
                    fields: [
                        Field("count", Hex(channel.count), "reload, \(tenths / 10).\(tenths % 10) Hz"),
                        Field("mode", Hex(channel.mode), PITField.modeName(channel.mode)),
                        Field("access", Hex(channel.accessMode), PITField.accessName(channel.accessMode)),
                        Field("bcd", Hex(channel.isBCD ? 1 : 0), channel.isBCD ? "decimal" : "binary"),
                        Field("gate", Hex(channel.gate), channel.gate != 0 ? "counts" : "held"),
                        Field("latched", Hex(channel.latchedCount)), Field("status", Hex(channel.status)),
                    ])
            })
    }
}

extension MPState {
    /// Those that KVM has on x86, in the order of their numbers.
    static let settable: [MPState] = [.runnable, .uninitialized, .initReceived, .halted, .sipiReceived]
}
