internal import Debugger
import Expressions
public import X86

/// `fpu`: the x87 registers.
public struct FPUOutput: CommandOutput, Hashable {
    public var vcpu: Int
    public var fpu: FPURegisters

    private struct Record: Encodable {
        var bits: String
        var value: String
        var isEmpty: Bool
    }

    private enum CodingKeys: String, CodingKey {
        case vcpu, st, controlWord, statusWord, tagWord, top, lastOpcode, lastInstruction, lastOperand
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(vcpu, forKey: .vcpu)
        try container.encode(
            fpu.st.indices.map {
                Record(bits: bits($0), value: "\(extended(fpu.st[$0]))", isEmpty: !isInUse($0))
            }, forKey: .st)
        try container.encode(Hex(fpu.controlWord), forKey: .controlWord)
        try container.encode(Hex(fpu.statusWord), forKey: .statusWord)
        try container.encode(Hex(fpu.tagWord), forKey: .tagWord)
        try container.encode(top, forKey: .top)
        try container.encode(Hex(fpu.lastOpcode), forKey: .lastOpcode)
        try container.encode(Hex(fpu.lastInstruction), forKey: .lastInstruction)
        try container.encode(Hex(fpu.lastOperand), forKey: .lastOperand)
    }

    /// The register that ST0 is: bits 11 to 13 of the status word. Source: SDM volume 1, 8.1.3.
    private var top: Int { Int(fpu.statusWord >> 11 & 7) }

    /// ST registers count from the top, the tag word's bits from register 0.
    private func isInUse(_ index: Int) -> Bool { fpu.tagWord >> UInt8((top + index) & 7) & 1 == 1 }

    private func bits(_ index: Int) -> String {
        "0x" + Hex.bytes((0..<10).reversed().map { fpu.st[index][$0] })
    }

    public func lines(width: Int) -> [StyledLine] {
        var result = fpu.st.indices.map { index in
            var line = StyledLine(" st\(index)  ", .dim)
            line.append(bits(index), isInUse(index) ? .value : .dim)
            line.append(
                isInUse(index) ? "  \(extended(fpu.st[index]))" : "  empty", isInUse(index) ? .plain : .dim)
            return line
        }
        var words = StyledLine(" control ", .dim)
        words.append(Hex.digits(fpu.controlWord, width: 4))
        words.append("  status ", .dim)
        words.append(Hex.digits(fpu.statusWord, width: 4))
        words.append("  tags ", .dim)
        words.append(Hex.digits(fpu.tagWord, width: 2))
        words.append("  top \(top)", .dim)
        words.append("  last opcode ", .dim)
        words.append(Hex.digits(fpu.lastOpcode, width: 4))
        result.append(words)
        return result
    }
}

/// An 80-bit number. Source: SDM volume 1, 4.2.2.
private func extended(_ slot: FPURegisters.Slot) -> Float80 {
    let significand = (0..<8).reduce(UInt64(0)) { $0 | UInt64(slot[$1]) << UInt64($1 * 8) }
    let head = UInt(slot[8]) | UInt(slot[9]) << 8
    return Float80(
        sign: head >> 15 == 1 ? .minus : .plus, exponentBitPattern: head & 0x7FFF,
        significandBitPattern: significand)
}

/// `xmm`: the SSE registers.
public struct XMMOutput: CommandOutput, Hashable {
    public var vcpu: Int
    public var registers: [FPURegisters.Slot]
    public var mxcsr: UInt32

    private enum CodingKeys: String, CodingKey { case vcpu, xmm, mxcsr }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(vcpu, forKey: .vcpu)
        try container.encode(registers.map { "0x" + Self.digits($0) }, forKey: .xmm)
        try container.encode(Hex(mxcsr), forKey: .mxcsr)
    }

    /// The highest byte first, as one number.
    static func digits(_ slot: FPURegisters.Slot) -> String {
        Hex.bytes((0..<16).reversed().map { slot[$0] })
    }

    public func lines(width: Int) -> [StyledLine] {
        let columns = width >= 2 * 41 ? 2 : 1
        let cells = registers.enumerated().map { index, slot in
            " xmm\(index)".padded(7) + Self.digits(slot)
        }
        var result: [StyledLine] = stride(from: 0, to: cells.count, by: columns).map { start in
            StyledLine(cells[start..<min(start + columns, cells.count)].joined(separator: "  "))
        }
        var line = StyledLine(" mxcsr ", .dim)
        line.append(Hex.digits(mxcsr, width: 8))
        result.append(line)
        return result
    }
}

/// `print $xmm0`, `print $st0`: one register that no number holds.
public struct WideRegisterOutput: CommandOutput, Hashable {
    public var name: String
    /// The highest byte first, as one number.
    public var value: String
    /// As numbers of each size, the lowest first.
    public var parts: [Part]

    public struct Part: Encodable, Sendable, Hashable {
        /// GDB's name of the form: `v4_float`.
        public var form: String
        public var values: [String]
    }

    private enum CodingKeys: String, CodingKey { case name, value, parts }

    init(_ register: WideRegister, _ fpu: FPURegisters) {
        switch register {
        case .xmm(let number):
            let slot = fpu.xmm[number]
            name = "xmm\(number)"
            value = "0x" + XMMOutput.digits(slot)
            var words: [UInt32] = []
            for start in stride(from: 0, to: 16, by: 4) {
                var word: UInt32 = 0
                for byte in (0..<4).reversed() { word = word << 8 | UInt32(slot[start + byte]) }
                words.append(word)
            }
            let doubles = [0, 2].map { (low: Int) in UInt64(words[low]) | UInt64(words[low + 1]) << 32 }
            parts = [
                Part(form: "v4_float", values: words.map { "\(Float(bitPattern: $0))" }),
                Part(form: "v2_double", values: doubles.map { "\(Double(bitPattern: $0))" }),
                Part(form: "v4_int32", values: words.map { Hex($0).description }),
                Part(form: "v2_int64", values: doubles.map { Hex($0).description }),
            ]
        case .st(let number):
            name = "st\(number)"
            value = "0x" + Hex.bytes((0..<10).reversed().map { fpu.st[number][$0] })
            parts = [Part(form: "i387_ext", values: ["\(extended(fpu.st[number]))"])]
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var first = StyledLine("\(name) = ")
        first.append(value, .value)
        return [first]
            + parts.map { part in
                var line = StyledLine("  " + part.form.padded(11), .dim)
                line.append(part.values.joined(separator: "  "))
                return line
            }
    }
}
