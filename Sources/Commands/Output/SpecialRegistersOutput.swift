import DebugTarget
import Debugger
public import X86

/// `sregs`: the segment registers with their hidden parts, and the descriptor tables.
public struct SegmentsOutput: CommandOutput, Hashable {
    public var vcpu: Int
    public var mode: CPUMode
    public var special: SpecialRegisters
    public var changed: Set<String>

    init(_ snapshot: VCPUSnapshot, since previous: VCPUSnapshot?) {
        vcpu = snapshot.id
        mode = snapshot.mode
        special = snapshot.special
        changed = StateChanges(from: previous, to: snapshot).names
    }

    private var isLong: Bool { special.efer.contains(.lma) }

    private struct SegmentRecord: Encodable {
        var selector: Hex
        var base: Hex
        var limit: Hex
        var attributes: Hex
        var type: String
        var summary: String
    }

    private struct TableRecord: Encodable {
        var base: Hex
        var limit: Hex
    }

    private enum CodingKeys: String, CodingKey { case vcpu, mode, segments, tables, changed }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(vcpu, forKey: .vcpu)
        try container.encode(mode.rawValue, forKey: .mode)
        var segments: [String: SegmentRecord] = [:]
        for name in SegmentName.allCases {
            let segment = special[name]
            segments[name.rawValue] = SegmentRecord(
                selector: Hex(segment.selector), base: Hex(segment.base), limit: Hex(segment.limit),
                attributes: Hex(segment.attributes.rawValue),
                type: segment.attributes.typeName(inLongMode: isLong),
                summary: segment.attributes.summary(inLongMode: isLong))
        }
        try container.encode(segments, forKey: .segments)
        let tables = ["gdtr": special.gdt, "idtr": special.idt]
        try container.encode(
            tables.mapValues { TableRecord(base: Hex($0.base), limit: Hex($0.limit)) }, forKey: .tables)
        try container.encode(changed.sorted(), forKey: .changed)
    }

    public func lines(width: Int) -> [StyledLine] {
        let digits = isLong ? 16 : 8
        var table = TextTable(["", "Sel", "Base", "Limit", "Attr", "Meaning"])
        for name in SegmentName.allCases {
            let segment = special[name]
            table.add([
                mark(name.rawValue),
                value(segment.selector, 4, "\(name.rawValue).selector"),
                value(segment.base, digits, "\(name.rawValue).base"),
                value(segment.limit, 8, "\(name.rawValue).limit"),
                value(segment.attributes.rawValue, 5, "\(name.rawValue).attr"),
                .init(segment.attributes.summary(inLongMode: isLong), .dim),
            ])
        }
        for (name, register) in [("gdtr", special.gdt), ("idtr", special.idt)] {
            table.add([
                mark(name), .init(""), value(register.base, digits, "\(name).base"),
                value(register.limit, 8, "\(name).limit"),
            ])
        }
        return table.lines
    }

    private func isChanged(_ name: String) -> Bool { changed.contains(name) }

    private func mark(_ name: String) -> StyledLine.Span {
        let any = changed.contains { $0 == name || $0.hasPrefix("\(name).") }
        return .init((any ? "*" : " ") + name, any ? .changed : .dim)
    }

    private func value(_ number: some BinaryInteger, _ digits: Int, _ name: String) -> StyledLine.Span {
        .init(Hex.digits(number, width: digits), isChanged(name) ? .changed : .value)
    }
}

/// A register that is made of flags, or a plain one, as `creg` and `dreg` list them.
public struct ControlRegister: Sendable, Hashable, Encodable {
    public var name: String
    public var value: Hex
    /// The names of what is set; absent for a register without flags.
    public var flags: [String]?
    public var isChanged: Bool
    /// What else there is to say of it.
    var note: String?

    private enum CodingKeys: String, CodingKey { case name, value, flags, isChanged }

    init(_ name: String, _ value: UInt64, changed: Bool, note: String? = nil) {
        self.name = name
        self.value = Hex(value)
        self.isChanged = changed
        self.note = note
    }

    init(_ name: String, _ value: some FlagFields, changed: Bool) {
        self.init(name, value.rawValue, changed: changed)
        flags = value.setNames
        if value.unknownBits != 0 { note = "unknown bits \(Hex(value.unknownBits))" }
    }

    func line(digits: Int) -> StyledLine {
        var line = StyledLine()
        line.appendMark(isChanged)
        line.append(name.padded(9), .dim)
        line.append(Hex.digits(value.value, width: digits), isChanged ? .changed : .value)
        if let flags, !flags.isEmpty {
            line.append("  " + flags.map { $0.uppercased() }.joined(separator: " "), .flagSet)
        }
        if let note { line.append("  " + note, .dim) }
        return line
    }
}

/// `creg`: the control registers, EFER and the APIC base, decoded.
public struct ControlRegistersOutput: CommandOutput, Hashable {
    public var vcpu: Int
    public var mode: String
    public var paging: String
    public var registers: [ControlRegister]

    init(_ snapshot: VCPUSnapshot, since previous: VCPUSnapshot?) {
        let special = snapshot.special
        let changed = StateChanges(from: previous, to: snapshot).names
        vcpu = snapshot.id
        mode = snapshot.mode.rawValue
        paging = PagingMode(special).title
        registers = [
            ControlRegister("cr0", special.cr0, changed: changed.contains("cr0")),
            ControlRegister("cr2", special.cr2, changed: changed.contains("cr2"), note: "page fault address"),
            ControlRegister("cr3", special.cr3, changed: changed.contains("cr3"), note: "page table root"),
            ControlRegister("cr4", special.cr4, changed: changed.contains("cr4")),
            ControlRegister("cr8", special.cr8, changed: changed.contains("cr8"), note: "task priority"),
            ControlRegister("efer", special.efer, changed: changed.contains("efer")),
            ControlRegister("apicbase", special.apicBase, changed: changed.contains("apicbase")),
        ]
    }

    public func lines(width: Int) -> [StyledLine] {
        let isWide = registers.contains { $0.value.value >> 32 != 0 }
        return registers.map { $0.line(digits: isWide ? 16 : 8) }
            + [StyledLine(" paging: \(paging)", .dim)]
    }
}

/// `dreg`: the guest's own debug registers.
public struct DebugRegistersOutput: CommandOutput, Hashable {
    public struct Slot: Sendable, Hashable, Encodable {
        public var register: String
        public var condition: String
        public var length: Int
    }

    public var vcpu: Int
    public var registers: [ControlRegister]
    /// Those of DR0 to DR3 that DR7 enables.
    public var enabled: [Slot]

    init(vcpu: Int, _ debug: DebugRegisters) {
        self.vcpu = vcpu
        let control = DR7(rawValue: debug.dr7)
        enabled = (0..<4).compactMap { number in
            let slot = control[number]
            guard slot.isEnabled else { return nil }
            return Slot(register: "dr\(number)", condition: slot.condition.title, length: slot.length)
        }
        let addresses = [debug.dr0, debug.dr1, debug.dr2, debug.dr3]
        let slots = enabled
        registers =
            addresses.enumerated().map { number, address in
                let slot = slots.first { $0.register == "dr\(number)" }
                return ControlRegister(
                    "dr\(number)", address, changed: false,
                    note: slot.map { "\($0.condition), \(counted($0.length, "byte"))" })
            }
            + [
                ControlRegister("dr6", DR6(rawValue: debug.dr6), changed: false),
                ControlRegister("dr7", control, changed: false),
            ]
    }

    public func lines(width: Int) -> [StyledLine] {
        let isWide = registers.contains { $0.value.value >> 32 != 0 }
        return registers.map { $0.line(digits: isWide ? 16 : 8) }
    }
}

extension DR7.Condition {
    fileprivate var title: String {
        switch self {
        case .execution: "execution"
        case .write: "write"
        case .portIO: "port I/O"
        case .access: "read or write"
        }
    }
}

extension PagingMode {
    var title: String {
        switch self {
        case .none: "off"
        case .bits32: "32-bit"
        case .pae: "PAE"
        case .level4: "4-level"
        case .level5: "5-level"
        }
    }
}
