import DebugTarget
import Debugger
public import X86

/// `regs`: the general registers, the flags by name, and the segment selectors of one vCPU.
public struct RegistersOutput: CommandOutput, Hashable {
    public var vcpu: Int
    public var mode: CPUMode
    public var registers: GeneralRegisters
    public var selectors: [String: UInt16]
    /// Names of what changed since the stop before.
    public var changed: Set<String>
    public var changedFlags: RFlags

    init(_ snapshot: VCPUSnapshot, since previous: VCPUSnapshot?) {
        vcpu = snapshot.id
        mode = snapshot.mode
        registers = snapshot.registers
        selectors = Dictionary(
            uniqueKeysWithValues: SegmentName.allCases.map {
                ($0.rawValue, snapshot.special[$0].selector)
            })
        let changes = StateChanges(from: previous, to: snapshot)
        changed = changes.names
        changedFlags = changes.flags
    }

    private enum CodingKeys: String, CodingKey {
        case vcpu, mode, registers, flags, segments, changed, changedFlags
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(vcpu, forKey: .vcpu)
        try container.encode(mode.rawValue, forKey: .mode)
        var values = Dictionary(uniqueKeysWithValues: registers.named.map { ($0.name, Hex($0.value)) })
        values["rflags"] = Hex(registers.rflags.rawValue)
        try container.encode(values, forKey: .registers)
        try container.encode(registers.rflags.setNames, forKey: .flags)
        try container.encode(selectors.mapValues { Hex($0) }, forKey: .segments)
        try container.encode(changed.sorted(), forKey: .changed)
        try container.encode(changedFlags.setNames, forKey: .changedFlags)
    }

    public func lines(width: Int) -> [StyledLine] {
        // Outside long mode the upper halves and R8-R15 cannot be reached and are left out while they are
        // zero, so that what is there reads as a 32-bit machine.
        let hasUpper = registers.named.contains { $0.value >> 32 != 0 }
        let isLong = mode == .long64 || hasUpper
        let shown = registers.named.filter { isLong || !$0.isExtended || $0.value != 0 }
        let digits = isLong ? 16 : 8
        let cell = 1 + 4 + digits + 2
        let columns = max(1, min(4, (width + 2) / cell))

        var result: [StyledLine] = []
        var line = StyledLine()
        for (index, register) in shown.enumerated() {
            let isChanged = changed.contains(register.name)
            let name = isLong || register.isExtended ? register.name : "e" + register.name.dropFirst()
            line.appendMark(isChanged)
            line.append(name.padded(4), .dim)
            line.append(Hex.digits(register.value, width: digits), isChanged ? .changed : .value)
            if (index + 1) % columns == 0 || index == shown.count - 1 {
                result.append(line)
                line = StyledLine()
            } else {
                line.append("  ")
            }
        }
        result.append(flagLine)
        result.append(selectorLine)
        return result
    }

    private var flagLine: StyledLine {
        let flags = registers.rflags
        var line = StyledLine()
        line.appendMark(changed.contains("rflags"))
        line.append("flags ", .dim)
        line.append(Hex.digits(flags.rawValue, width: 8))
        for (field, value) in flags.fieldValues.reversed() {
            let isChanged = changedFlags.rawValue & field.mask != 0
            // The system flags are rare: their names are shown when they say something.
            guard value != 0 || isChanged || Self.everyday.contains(field.name) else { continue }
            line.append(" ")
            let name = field.width == 1 ? field.name : "\(field.name)=\(value)"
            line.append(
                value != 0 ? name.uppercased() : name,
                isChanged ? .changed : value != 0 ? .flagSet : .dim)
            if isChanged { line.append("*", .changed) }
        }
        return line
    }

    private static let everyday: Set = ["cf", "pf", "af", "zf", "sf", "if", "df", "of"]

    private var selectorLine: StyledLine {
        var line = StyledLine()
        for name in [SegmentName.cs, .ss, .ds, .es, .fs, .gs] {
            let isChanged = changed.contains { $0 == name.rawValue || $0.hasPrefix("\(name.rawValue).") }
            if line.columns > 0 { line.append("  ") }
            line.appendMark(isChanged)
            line.append(name.rawValue + " ", .dim)
            line.append(
                Hex.digits(selectors[name.rawValue] ?? 0, width: 4), isChanged ? .changed : .value)
        }
        line.append("  \(mode.title), vCPU \(vcpu)", .dim)
        return line
    }
}

extension GeneralRegisters {
    /// The general registers and RIP by name, in the order of the manual's pictures.
    var named: [(name: String, value: UInt64, isExtended: Bool)] {
        [
            ("rax", rax, false), ("rbx", rbx, false), ("rcx", rcx, false), ("rdx", rdx, false),
            ("rsi", rsi, false), ("rdi", rdi, false), ("rbp", rbp, false), ("rsp", rsp, false),
            ("r8", r8, true), ("r9", r9, true), ("r10", r10, true), ("r11", r11, true),
            ("r12", r12, true), ("r13", r13, true), ("r14", r14, true), ("r15", r15, true),
            ("rip", rip, false),
        ]
    }
}

extension CPUMode {
    /// For people.
    public var title: String {
        switch self {
        case .real: "real mode"
        case .virtual8086: "virtual-8086 mode"
        case .protected16: "16-bit protected mode"
        case .protected32: "32-bit protected mode"
        case .compatibility16: "16-bit compatibility mode"
        case .compatibility32: "32-bit compatibility mode"
        case .long64: "64-bit mode"
        }
    }
}

/// Registers by name, as `info registers rax cs.base` and `set` give them.
public struct NamedRegisters: CommandOutput, Hashable {
    public struct Entry: Sendable, Hashable, Encodable {
        public var name: String
        public var value: Hex
        /// The names of the bits that are set, of a register that is made of flags.
        public var flags: [String]?
        var digits: Int

        private enum CodingKeys: String, CodingKey { case name, value, flags }
    }

    public var vcpu: Int
    public var registers: [Entry]

    public func lines(width: Int) -> [StyledLine] {
        registers.map { entry in
            var line = StyledLine(entry.name.padded(8) + " ", .dim)
            line.append(Hex.padded(entry.value.value, width: entry.digits))
            if entry.digits > 1 { line.append("  \(entry.value.value)", .dim) }
            if let flags = entry.flags, !flags.isEmpty {
                line.append("  " + flags.map { $0.uppercased() }.joined(separator: " "), .flagSet)
            }
            return line
        }
    }
}
