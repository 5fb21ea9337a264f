package import DebugTarget
package import Debugger
import Disassembler
import Symbols
import X86

/// The code pane, and where registers lead.
extension Gatherer {
    package func code(_ needs: Needs, _ stop: Stop) -> CodeWindow {
        guard let vcpu = stop[debugger.selectedVCPU] else { return CodeWindow() }
        let width = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes)
        var window = CodeWindow(mode: "\(width)-bit")
        let lines = codeLines(needs, vcpu)
        if let source = debugger.sourceLine() {
            let file = source.path.split(separator: "/").last.map(String.init) ?? source.path
            window.source = "\(file):\(source.line)"
        }
        window.lines = lines.map { code in
            var line = CodeWindow.Line(
                address: code.address,
                location: location(code, mode: vcpu.mode, width: width), bytes: code.bytes,
                text: code.instruction == nil ? "not readable" : code.text)
            line.isPC = code.address == vcpu.pc
            line.symbol = code.place?.description ?? ""
            if let breakpoint = debugger.breakpoint(atLinear: code.address) {
                line.breakpoint = breakpoint.number
                line.isBreakpointEnabled = breakpoint.isEnabled
            }
            guard let instruction = code.instruction else { return line }
            line.jump = jump(instruction, code, lines)
            if line.isPC { describe(instruction, vcpu, &line) }
            return line
        }
        return window
    }

    /// Where a direct jump goes; nil for what is none, and for a CALL, which comes back.
    private func jump(
        _ instruction: Instruction, _ code: CodeLine, _ lines: [CodeLine]
    ) -> CodeWindow.Jump? {
        guard !instruction.traits.isDisjoint(with: [.jump, .conditional, .loop]),
            case .near(let target)? = instruction.target
        else { return nil }
        if let place = lines.firstIndex(where: { $0.ip == target && $0.selector == code.selector }) {
            return .line(place)
        }
        return target < code.ip ? .up : .down
    }

    private func codeLines(_ needs: Needs, _ vcpu: VCPUSnapshot) -> [CodeLine] {
        func lines(at address: UInt64, _ count: Int) -> [CodeLine] {
            (try? debugger.disassemble(at: .linear(address), count: count)) ?? []
        }
        guard let start = needs.codeStart else { return lines(at: vcpu.pc, needs.codeLines) }
        let scroll = max(-4_096, min(needs.codeScroll, 4_096))
        if scroll > 0 {
            let all = lines(at: start, needs.codeLines + scroll)
            // Not beyond the last line that can be read.
            return Array(all.dropFirst(min(scroll, max(0, all.count - 1))).prefix(needs.codeLines))
        }
        if scroll < 0 {
            let before = (try? debugger.disassemble(before: .linear(start), count: -scroll)) ?? []
            return Array((before + lines(at: start, needs.codeLines)).prefix(needs.codeLines))
        }
        let found = lines(at: start, needs.codeLines)
        if needs.codePinnedAt == debugger.stop.number { return found }
        // A line of what follows is kept in sight.
        if found.dropLast().contains(where: { $0.address == vcpu.pc }) { return found }
        return lines(at: vcpu.pc, needs.codeLines)
    }

    private func location(_ code: CodeLine, mode: CPUMode, width: Int) -> String {
        if mode == .long64 { return hex(code.address, 16) }
        return "\(hex(UInt64(code.selector), 4)):\(hex(code.ip, width == 16 ? 4 : 8))"
    }

    package func location(_ vcpu: VCPUSnapshot) -> String {
        if vcpu.mode == .long64 { return hex(vcpu.registers.rip, 16) }
        let width = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes)
        return "\(hex(UInt64(vcpu.special.cs.selector), 4)):\(hex(vcpu.registers.rip, width == 16 ? 4 : 8))"
    }

    /// The branch that is about to be taken or not, and where the memory operands point.
    private func describe(_ instruction: Instruction, _ vcpu: VCPUSnapshot, _ line: inout CodeWindow.Line) {
        let file = RegisterFile(general: vcpu.registers, special: vcpu.special)
        if instruction.traits.contains(.conditional) || instruction.traits.contains(.loop) {
            line.willBranch = instruction.willBranch(file)
        }
        let operands = (try? debugger.operands(of: instruction)) ?? []
        line.note = operands.map { operand in
            let kind = operand.operand
            // A segment that adds nothing is left out, as it is in the instruction's text.
            let base = operand.linear &- (kind.offset(in: file) ?? operand.linear)
            let offset = base == 0 ? "" : "\(kind.segment.rawValue):"
            let address = "[\(offset)\(hex(operand.linear &- base, 4))]"
            guard !kind.isAddressOnly, kind.size > 0 else { return address }
            return "\(address) = \(value(of: operand))"
        }.joined(separator: "  ")
    }

    private func value(of operand: OperandValue) -> String {
        let size = operand.operand.size
        if size > 8 {
            // A vector or a descriptor: its bytes as they stand.
            let image = try? debugger.readMemory(.linear(operand.linear), count: min(size, 16))
            guard let image, image.isComplete else { return "??" }
            return image.bytes.map { hex(UInt64($0), 2) }.joined(separator: " ") + (size > 16 ? ".." : "")
        }
        guard let value = operand.value else { return "??" }
        let text = hex(value, size * 2)
        let byte = UInt8(truncatingIfNeeded: value)
        guard size == 1, (0x20..<0x7F).contains(byte) else { return text }
        return "\(text) '\(Unicode.Scalar(byte))'"
    }

    // MARK: Chains

    /// The registers that hold addresses now and then, with the segment they are offsets of by themselves.
    private static let pointers: [(name: GeneralRegister, segment: SegmentName)] = [
        (.rax, .ds), (.rbx, .ds), (.rcx, .ds), (.rdx, .ds), (.rsi, .ds), (.rdi, .es), (.rbp, .ss),
        (.rsp, .ss), (.r8, .ds), (.r9, .ds), (.r10, .ds), (.r11, .ds), (.r12, .ds), (.r13, .ds),
        (.r14, .ds), (.r15, .ds),
    ]

    func registerChains(_ stop: Stop) -> [String: String] {
        guard let vcpu = stop[debugger.selectedVCPU] else { return [:] }
        var chains: [String: String] = [:]
        let width = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes)
        // What 16- and 32-bit code cannot name leads it nowhere; 16-bit code has addresses in five of them only.
        for (name, segment) in Self.pointers.prefix(vcpu.mode == .long64 ? 16 : 8) {
            if width == 16, [.rax, .rcx, .rdx].contains(name) || vcpu.registers[name] == 0 { continue }
            let text = chainText(vcpu.registers[name], in: segment, vcpu)
            if !text.isEmpty { chains["\(name)"] = text }
        }
        return chains
    }

    /// Where a value leads, as `-> 5000 -> "text"` with arrows; empty for what leads nowhere.
    func chainText(_ value: UInt64, in segment: SegmentName, _ vcpu: VCPUSnapshot) -> String {
        let digits = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes) / 4
        // Any 16-bit number is an offset of something: what stands there is shown, and led no further.
        guard digits > 4 else { return target(value, in: segment) }
        let name = symbol(at: value, in: segment, vcpu)
        guard let chain = try? debugger.pointerChain(from: value) else { return name }
        // The first address is the value itself.
        var parts = chain.addresses.dropFirst().map { address in
            let name = symbol(at: address, in: .ds, vcpu)
            return hex(address, digits) + (name.isEmpty ? "" : " \(name)")
        }
        switch chain.end {
        case .value(let value): parts.append(hex(value, digits))
        case .string(let text, let isCut): parts.append("\"\(text)\"" + (isCut ? ".." : ""))
        case .code(let text): parts.append(text)
        case .loop: parts.append("loop")
        case .more: parts.append("..")
        }
        return ((name.isEmpty ? [] : [name]) + parts.map { "\u{2192} \($0)" }).joined(separator: " ")
    }

    /// `<name+4>` of an address in a segment; empty for none.
    private func symbol(at offset: UInt64, in segment: SegmentName, _ vcpu: VCPUSnapshot) -> String {
        guard !debugger.symbols.isEmpty else { return "" }
        let linear = vcpu.special.linear(segment, offset, mode: vcpu.mode)
        return debugger.symbols.place(at: linear).map { "<\($0)>" } ?? ""
    }

    /// What stands at an offset of 16-bit code: text, or a word.
    private func target(_ offset: UInt64, in segment: SegmentName) -> String {
        let place = Address.segmented(.register(segment), offset: offset)
        guard offset <= 0xFFFF, let image = try? debugger.readMemory(place, count: 32) else { return "" }
        let text = image.leading.prefix { (0x20..<0x7F).contains($0) }
        if text.count >= 4 { return "\u{2192} \"\(String(decoding: text, as: UTF8.self))\"" }
        return image.value(at: 0, width: 2).map { "\u{2192} \(hex($0, 4))" } ?? ""
    }
}
