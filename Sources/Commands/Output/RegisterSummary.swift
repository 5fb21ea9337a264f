import X86

/// Registers by name, for what shows many states.
enum RegisterSummary {
    private static let general: [(String, any KeyPath<GeneralRegisters, UInt64> & Sendable)] = [
        ("rax", \.rax), ("rbx", \.rbx), ("rcx", \.rcx), ("rdx", \.rdx), ("rsi", \.rsi), ("rdi", \.rdi),
        ("rbp", \.rbp), ("rsp", \.rsp), ("r8", \.r8), ("r9", \.r9), ("r10", \.r10), ("r11", \.r11),
        ("r12", \.r12), ("r13", \.r13), ("r14", \.r14), ("r15", \.r15), ("rip", \.rip),
    ]

    static func values(_ registers: GeneralRegisters) -> [String: Hex] {
        var values: [String: Hex] = [:]
        for (name, path) in general { values[name] = Hex(registers[keyPath: path]) }
        values["rflags"] = Hex(registers.rflags.rawValue)
        return values
    }

    static func system(_ special: SpecialRegisters) -> [String: Hex] {
        [
            "cr0": Hex(special.cr0.rawValue), "cr2": Hex(special.cr2), "cr3": Hex(special.cr3),
            "cr4": Hex(special.cr4.rawValue), "efer": Hex(special.efer.rawValue),
            "cs": Hex(special.cs.selector), "ss": Hex(special.ss.selector), "tr": Hex(special.tr.selector),
            "idtr.base": Hex(special.idt.base), "idtr.limit": Hex(special.idt.limit),
            "gdtr.base": Hex(special.gdt.base), "gdtr.limit": Hex(special.gdt.limit),
        ]
    }

    /// The registers that an instruction changed, RIP apart, with what they are after it.
    static func changed(_ before: GeneralRegisters, _ after: GeneralRegisters) -> [String: Hex] {
        let old = values(before)
        return values(after).filter { $0.key != "rip" && old[$0.key] != $0.value }
    }

    /// `rax=1234 rflags=46`: what an instruction changed, apart from RIP.
    static func changes(_ before: GeneralRegisters, _ after: GeneralRegisters) -> String {
        var parts: [String] = []
        for (name, path) in general where name != "rip" {
            let value = after[keyPath: path]
            if value != before[keyPath: path] { parts.append("\(name)=\(Hex.digits(value))") }
        }
        if before.rflags != after.rflags { parts.append("rflags=\(Hex.digits(after.rflags.rawValue))") }
        return parts.joined(separator: " ")
    }

    /// In rows of four; r8 to r15 in 64-bit mode alone.
    static func lines(_ values: [String: Hex], mode: String) -> [StyledLine] {
        let isLong = mode == CPUMode.long64.rawValue
        let names =
            general.map(\.0).filter { isLong || !$0.dropFirst().allSatisfy(\.isNumber) } + [
                "rflags", "cr0", "cr2", "cr3", "cr4", "efer", "idtr.base", "idtr.limit", "gdtr.base",
                "gdtr.limit", "cs",
                "ss", "tr",
            ]
        var lines: [StyledLine] = []
        for start in stride(from: 0, to: names.count, by: 4) {
            var line = StyledLine("   ")
            for name in names[start..<min(start + 4, names.count)] {
                line.append(" " + name.padded(11), .dim)
                line.append(Hex.digits(values[name]?.value ?? 0, width: isLong ? 16 : 8), .value)
            }
            lines.append(line)
        }
        return lines
    }
}
