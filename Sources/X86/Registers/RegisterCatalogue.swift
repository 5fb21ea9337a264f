/// The table behind ``RegisterName``.
enum RegisterCatalogue {
    static let all: [RegisterName] =
        general + flags + segments + tables + control + debug

    static let spellings: [String] = all.map(\.name) + aliases.map(\.alias)

    static let bySpelling: [String: RegisterName] = {
        var map: [String: RegisterName] = [:]
        for register in all { map[register.name] = register }
        for (alias, name) in aliases { map[alias] = map[name] }
        return map
    }()

    /// Other spellings, each of a name in ``all``.
    static let aliases: [(alias: String, name: String)] =
        [
            // GDB's register-independent names.
            ("sp", "rsp"), ("fp", "rbp"), ("pc", "rip"), ("ps", "eflags"),
            ("fs_base", "fs.base"), ("gs_base", "gs.base"),
            ("gdt.base", "gdtr.base"), ("gdt.limit", "gdtr.limit"),
            ("idt.base", "idtr.base"), ("idt.limit", "idtr.limit"),
            ("ldtr", "ldt"), ("apic_base", "apicbase"), ("tpr", "cr8"), ("msr_efer", "efer"),
            ("dr4", "dr6"), ("dr5", "dr7"),
        ]
        + segmentFields.map { ("ldtr.\($0.name)", "ldt.\($0.name)") }
        + SegmentName.allCases.flatMap { segment in
            [
                ("\(segment).attributes", "\(segment).attr"), ("\(segment).d", "\(segment).db"),
                ("\(segment).b", "\(segment).db"),
            ]
        }
        + (8...15).map { ("r\($0)l", "r\($0)b") }

    private static let general: [RegisterName] =
        GeneralRegister.allCases.flatMap { register -> [RegisterName] in
            let name = "\(register)"
            func part(_ name: String, _ width: Int, shift: Int = 0) -> RegisterName {
                RegisterName(name, width, .general, .general(register), shift: shift)
            }
            let whole = part(name, 64)
            switch register {
            case .rax, .rbx, .rcx, .rdx:
                let letter = name.dropFirst().dropLast()
                return [
                    whole, part("e\(letter)x", 32), part("\(letter)x", 16), part("\(letter)l", 8),
                    part("\(letter)h", 8, shift: 8),
                ]
            case .rsi, .rdi, .rbp:
                let short = name.dropFirst()
                return [whole, part("e\(short)", 32), part("\(short)", 16), part("\(short)l", 8)]
            case .rsp:
                // The 16-bit part has no name of its own: `sp` is GDB's for the whole.
                return [whole, part("esp", 32), part("spl", 8)]
            case .rip:
                return [whole, part("eip", 32), part("ip", 16)]
            case .r8, .r9, .r10, .r11, .r12, .r13, .r14, .r15:
                return [whole, part("\(name)d", 32), part("\(name)w", 16), part("\(name)b", 8)]
            }
        }

    private static let flags: [RegisterName] =
        [
            RegisterName("rflags", 64, .flags, .rflags), RegisterName("eflags", 32, .flags, .rflags),
            RegisterName("flags", 16, .flags, .rflags),
        ]
        + RFlags.fields.map { RegisterName($0.name, $0.width, .flags, .rflags, shift: $0.shift) }

    private static let segmentFields: [(name: String, width: Int, shift: Int)] = [
        ("selector", 16, 0), ("base", 64, 0), ("limit", 32, 0), ("attr", SegmentAttributes.width, 0),
        ("type", 4, 0), ("s", 1, 4), ("dpl", 2, 5), ("p", 1, 7), ("avl", 1, 12), ("l", 1, 13), ("db", 1, 14),
        ("g", 1, 15), ("unusable", 1, 16),
    ]

    private static let segments: [RegisterName] = SegmentName.allCases.flatMap { segment in
        [RegisterName("\(segment)", 16, .segment, .segmentRegister(segment))]
            + segmentFields.map { part in
                let field: RegisterField =
                    switch part.name {
                    case "selector": .segmentSelector(segment)
                    case "base": .segmentBase(segment)
                    case "limit": .segmentLimit(segment)
                    default: .segmentAttributes(segment)
                    }
                return RegisterName(
                    "\(segment).\(part.name)", part.width, .segment, field, shift: part.shift)
            }
    }

    private static let tables: [RegisterName] = [
        RegisterName("gdtr.base", 64, .table, .gdtBase), RegisterName("gdtr.limit", 16, .table, .gdtLimit),
        RegisterName("idtr.base", 64, .table, .idtBase), RegisterName("idtr.limit", 16, .table, .idtLimit),
    ]

    private static let control: [RegisterName] =
        [RegisterName("cr0", 64, .control, .cr0)] + bits("cr0", CR0.fields, .cr0)
        + [
            RegisterName("cr2", 64, .control, .cr2), RegisterName("cr3", 64, .control, .cr3),
            RegisterName("cr4", 64, .control, .cr4),
        ] + bits("cr4", CR4.fields, .cr4)
        + [RegisterName("cr8", 64, .control, .cr8), RegisterName("efer", 64, .control, .efer)]
        + bits("efer", EFER.fields, .efer)
        + [RegisterName("apicbase", 64, .control, .apicBase)]

    private static let debug: [RegisterName] =
        (0...3).map { RegisterName("dr\($0)", 64, .debug, .debugAddress($0)) }
        + [RegisterName("dr6", 64, .debug, .dr6)] + bits("dr6", DR6.fields, .dr6, .debug)
        + [RegisterName("dr7", 64, .debug, .dr7)] + bits("dr7", DR7.fields, .dr7, .debug)

    private static func bits(
        _ register: String, _ fields: [FlagField], _ field: RegisterField, _ group: RegisterGroup = .control
    ) -> [RegisterName] {
        fields.map { RegisterName("\(register).\($0.name)", $0.width, group, field, shift: $0.shift) }
    }
}
