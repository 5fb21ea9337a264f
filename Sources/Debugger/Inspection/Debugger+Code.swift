import DebugTarget
public import Disassembler
public import Symbols
public import X86

/// One line of disassembly.
public struct CodeLine: Sendable, Hashable {
    /// The linear address; the physical one where that was asked for.
    public var address: UInt64
    /// The selector to show before the offset: CS, or the one that was asked for.
    public var selector: UInt16
    /// The offset in the segment.
    public var ip: UInt64
    /// Nil where the first byte cannot be read. Bytes that are no instruction give a `(bad)` one.
    public var instruction: Instruction?
    /// The symbol that the address belongs to.
    public var place: SymbolPlace?
    /// The instruction's text with names for the addresses in it, where there are any.
    public var namedText: String?

    public var bytes: [UInt8] { instruction?.bytes ?? [] }
    public var text: String { namedText ?? instruction?.text ?? "??" }

    public init(
        address: UInt64, selector: UInt16, ip: UInt64, instruction: Instruction?, place: SymbolPlace? = nil
    ) {
        self.place = place
        self.address = address
        self.selector = selector
        self.ip = ip
        self.instruction = instruction
    }
}

/// Where a vCPU stands, as Bochs has it: `(cpu) [physical] cs:ip (symbol): instruction ; bytes`.
public struct StopLine: Sendable, Hashable {
    public var vcpu: Int
    /// Nil where the code is not mapped.
    public var physical: UInt64?
    public var mode: CPUMode
    public var code: CodeLine
    /// A name for the place, where one is known: `puts+0x4`.
    public var symbol: String?
    /// The source line that it comes of, where one is known.
    public var source: SourceLine?

    public init(
        vcpu: Int, physical: UInt64?, mode: CPUMode, code: CodeLine, symbol: String? = nil,
        source: SourceLine? = nil
    ) {
        self.source = source
        self.vcpu = vcpu
        self.physical = physical
        self.mode = mode
        self.code = code
        self.symbol = symbol
    }
}

/// One slot of the stack.
public struct StackSlot: Sendable, Hashable {
    public var linear: UInt64
    /// The stack pointer that points to it.
    public var offset: UInt64
    /// In bytes: 2, 4 or 8.
    public var width: Int
    /// Nil where it cannot be read.
    public var value: UInt64?
    /// What the value is as an offset in CS, by name.
    public var place: SymbolPlace?
}

/// A memory operand with where it points, and what stands there.
public struct OperandValue: Sendable, Hashable {
    public var operand: MemoryOperand
    public var linear: UInt64
    /// Nil where it cannot be read, or is wider than eight bytes.
    public var value: UInt64?
}

extension Debugger {
    /// Decodes `count` instructions by the vCPU's mode, from `address` (its next instruction by default).
    ///
    /// The list ends early at memory that cannot be read, with a line that says so.
    public func disassemble(
        at address: Address? = nil, count: Int, vcpu id: Int? = nil
    ) throws(DebuggerError) -> [CodeLine] {
        let snapshot = try known(id)
        guard count > 0 else { return [] }
        let place = try codePlace(address, snapshot)
        let wanted = min(count, Self.maximumTransfer / Instruction.maximumLength)
        let image = try readMemory(place.address, count: wanted * Instruction.maximumLength, vcpu: id)
        let mode = DecodeMode(snapshot.registers, snapshot.special)
        var lines: [CodeLine] = []
        var rest = image.leading
        var ip = place.ip
        while lines.count < wanted {
            let address = image.start &+ UInt64(rest.startIndex)
            guard !rest.isEmpty else {
                lines.append(CodeLine(address: address, selector: place.selector, ip: ip, instruction: nil))
                break
            }
            let instruction = disassembler.decode(rest.prefix(Instruction.maximumLength), at: ip, mode)
            lines.append(
                CodeLine(address: address, selector: place.selector, ip: ip, instruction: instruction))
            rest = rest.dropFirst(max(instruction.length, 1))
            ip = instruction.next
        }
        return named(lines, snapshot, address)
    }

    /// The lines with names, where symbols are loaded. Physical addresses have none: symbols are linear.
    private func named(
        _ lines: [CodeLine], _ snapshot: VCPUSnapshot, _ address: Address?
    ) -> [CodeLine] {
        if case .physical = address { return lines }
        guard !symbols.isEmpty else { return lines }
        return lines.map { line in
            var line = line
            line.place = symbols.place(at: line.address)
            line.namedText = line.instruction.flatMap { named($0, at: line.address, snapshot) }
            return line
        }
    }

    /// The instructions that most plausibly stand before `address`, `count` at most, the nearest last.
    public func disassemble(
        before address: Address, count: Int, vcpu id: Int? = nil
    ) throws(DebuggerError) -> [CodeLine] {
        let snapshot = try known(id)
        let place = try codePlace(address, snapshot)
        guard (1...4096).contains(count) else { return [] }
        // Fifteen bytes an instruction, and some more for the decoder to fall into step.
        let room = Int(clamping: place.ip)
        var size = min(count * Instruction.maximumLength + 32, room)
        var image = try readMemory(place.address.advanced(by: -size), count: size, vcpu: id)
        if let gap = image.gaps.last {
            size -= gap.range.upperBound
            image = try readMemory(place.address.advanced(by: -size), count: size, vcpu: id)
        }
        let first = place.ip &- UInt64(size)
        let mode = DecodeMode(snapshot.registers, snapshot.special)
        let lines = disassembler.decodeBackwards(image.bytes, at: first, mode, count: count).map {
            CodeLine(
                address: image.start &+ ($0.address &- first), selector: place.selector, ip: $0.address,
                instruction: $0)
        }
        return named(lines, snapshot, address)
    }

    /// Where a vCPU stands.
    public func stopLine(vcpu id: Int? = nil) throws(DebuggerError) -> StopLine {
        let snapshot = try known(id)
        let code =
            try disassemble(count: 1, vcpu: id).first
            ?? CodeLine(
                address: snapshot.pc, selector: snapshot.special.cs.selector, ip: snapshot.registers.rip,
                instruction: nil)
        return StopLine(
            vcpu: snapshot.id, physical: view(of: snapshot).physical(snapshot.pc), mode: snapshot.mode,
            code: code, symbol: symbols.place(at: snapshot.pc)?.description,
            source: symbols.line(at: snapshot.pc))
    }

    /// The stack from its top, `count` slots of the stack's width.
    public func stack(count: Int, vcpu id: Int? = nil) throws(DebuggerError) -> [StackSlot] {
        let snapshot = try known(id)
        let special = snapshot.special
        let width = snapshot.mode.stackWidth(ss: special.ss.attributes)
        let mask: UInt64 = width == 8 ? .max : width == 4 ? 0xFFFF_FFFF : 0xFFFF
        let view = view(of: snapshot)
        return (0..<min(max(count, 0), 1 << 16)).map { number in
            let offset = (snapshot.registers.rsp &+ UInt64(number * width)) & mask
            let linear = special.linear(.ss, offset, mode: snapshot.mode)
            let value = view.word(linear, size: width)
            return StackSlot(
                linear: linear, offset: offset, width: width, value: value,
                place: value.flatMap { symbols.place(at: special.linear(.cs, $0, mode: snapshot.mode)) })
        }
    }

    /// Where an instruction's memory operands point with the vCPU's registers, and what stands there.
    public func operands(of instruction: Instruction, vcpu id: Int? = nil) throws(DebuggerError)
        -> [OperandValue]
    {
        let snapshot = try known(id)
        let file = RegisterFile(general: snapshot.registers, special: snapshot.special)
        let view = view(of: snapshot)
        return instruction.memory.compactMap { operand in
            guard let linear = operand.linear(in: file) else { return nil }
            let value = (1...8).contains(operand.size) ? view.word(linear, size: operand.size) : nil
            return OperandValue(operand: operand, linear: linear, value: value)
        }
    }

    var disassembler: Disassembler { Disassembler() }

    /// What to read, and the selector and offset to show.
    private func codePlace(
        _ address: Address?, _ snapshot: VCPUSnapshot
    ) throws(DebuggerError) -> (address: Address, selector: UInt16, ip: UInt64) {
        let cs = snapshot.special.cs
        guard let address else { return (.linear(snapshot.pc), cs.selector, snapshot.registers.rip) }
        switch address {
        case .physical(let gpa): return (address, cs.selector, gpa)
        case .segmented(.selector(let selector), let offset):
            return (.linear(try linear(address, vcpu: snapshot.id)), selector, offset)
        case .segmented(.register(let name), let offset):
            return (.linear(try linear(address, vcpu: snapshot.id)), snapshot.special[name].selector, offset)
        case .linear, .virtual:
            let linear = try linear(address, vcpu: snapshot.id)
            let base = snapshot.mode == .long64 ? 0 : cs.base
            // Beyond the segment it has no offset in CS: the linear address is shown.
            guard linear >= base else { return (.linear(linear), 0, linear) }
            return (.linear(linear), cs.selector, linear - base)
        }
    }

    /// The instruction at the vCPU's PC; nil where nothing can be read.
    static func decodeNext(_ snapshot: VCPUSnapshot, _ view: LinearMemory) -> Instruction? {
        let image = view.read(snapshot.pc, count: Instruction.maximumLength, .linear(snapshot.pc))
        guard !image.leading.isEmpty else { return nil }
        return Disassembler().decode(
            image.leading, at: snapshot.registers.rip, DecodeMode(snapshot.registers, snapshot.special),
            formatted: false)
    }
}
