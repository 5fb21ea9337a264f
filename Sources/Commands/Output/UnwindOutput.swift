import Debugger
import Symbols
import X86

/// `telescope`.
public struct TelescopeOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var address: String
        public var linear: Hex
        /// Null where it cannot be read.
        public var value: Hex?
        /// The symbol that the value lies in, as an address.
        public var symbol: String?
        /// The registers that hold the address.
        public var registers: [String]
        /// Where the value leads: addresses, each standing where the one before points to.
        public var chain: [Hex]
        /// "value", "string", "code", "loop" or "more"; absent where the value is no pointer.
        public var endKind: String?
        /// What stands at the chain's end.
        public var end: String?
    }

    public var vcpu: Int
    /// Bytes of a word.
    public var width: Int
    public var words: [Row]

    init(vcpu: Int, _ rows: [TelescopeRow], _ symbols: SymbolTable) {
        self.vcpu = vcpu
        width = rows.first?.width ?? 2
        words = rows.map { row in
            let (kind, text) = Self.end(row.chain)
            return Row(
                address: row.address.description, linear: Hex(row.linear), value: row.value.map { Hex($0) },
                symbol: row.chain == nil ? nil : row.value.flatMap { symbols.place(at: $0)?.description },
                registers: row.registers, chain: row.chain?.addresses.map { Hex($0) } ?? [], endKind: kind,
                end: text)
        }
    }

    static func end(_ chain: PointerChain?) -> (String?, String?) {
        switch chain?.end {
        case nil: (nil, nil)
        case .value(let value)?: ("value", Hex(value).description)
        case .string(let text, let isCut)?: ("string", "\"\(escaped(text))\"" + (isCut ? "..." : ""))
        case .code(let text)?: ("code", text)
        case .loop(let address)?: ("loop", Hex(address).description)
        case .more?: ("more", "...")
        }
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\n": "\\n"
            case "\r": "\\r"
            case "\t": "\\t"
            case "\"": "\\\""
            case "\r\n": "\\r\\n"
            default: String(character)
            }
        }.joined()
    }

    public func lines(width terminal: Int) -> [StyledLine] {
        let labels = words.map(\.address.count).max() ?? 0
        let names = words.map { $0.registers.joined(separator: " ").count }.max() ?? 0
        return words.enumerated().map { index, row in
            var line = StyledLine(Hex.digits(index * width, width: 4) + " ", .dim)
            line.append(row.address.padded(labels), .address)
            if names > 0 { line.append(" " + row.registers.joined(separator: " ").padded(names), .symbol) }
            line.append("  ")
            guard let value = row.value else {
                line.append("??", .error)
                return line
            }
            line.append(Hex.digits(value.value, width: width * 2), .value)
            if let symbol = row.symbol { line.append(" <\(symbol)>", .symbol) }
            guard let end = row.end else { return line }
            for address in row.chain.dropFirst() {
                line.append(" -> ", .dim)
                line.append(address.description, .address)
            }
            switch row.endKind {
            case "loop":
                line.append(" -> ", .dim)
                line.append(end, .address)
                line.append(" (a loop)", .warning)
            case "code":
                line.append(" -> ", .dim)
                line.append(end, .mnemonic)
            default: line.append(" -> " + end, .dim)
            }
            return line
        }
    }
}

/// `backtrace`.
public struct BacktraceOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var level: Int
        public var cs: Hex
        public var ip: Hex
        public var linear: Hex
        public var framePointer: Hex
        /// "innermost", "near", "far" or "interrupt".
        public var kind: String
        /// The symbol that the code belongs to: `puts+0x4`.
        public var symbol: String?
    }

    public var vcpu: Int
    /// Bytes of a return address.
    public var width: Int
    public var frames: [Row]
    /// Why there are no more; absent where as many were asked for.
    public var end: String?

    init(vcpu: Int, _ trace: Backtrace, _ symbols: SymbolTable) {
        self.vcpu = vcpu
        width = trace.width
        end = trace.end
        frames = trace.frames.enumerated().map { level, frame in
            Row(
                level: level, cs: Hex(frame.selector), ip: Hex(frame.ip), linear: Hex(frame.linear),
                framePointer: Hex(frame.framePointer), kind: frame.kind.rawValue,
                symbol: symbols.place(at: frame.linear)?.description)
        }
    }

    public func lines(width terminal: Int) -> [StyledLine] {
        var result = frames.map { row in
            var line = StyledLine("#\(row.level)".padded(4), .dim)
            line.append(
                Hex.digits(row.cs.value, width: 4) + ":" + Hex.digits(row.ip.value, width: width * 2),
                .address)
            line.append("  frame " + Hex.digits(row.framePointer.value, width: width * 2), .dim)
            switch row.kind {
            case Backtrace.Frame.Kind.far.rawValue: line.append("  far call")
            case Backtrace.Frame.Kind.interrupt.rawValue: line.append("  interrupt")
            default: break
            }
            if let symbol = row.symbol { line.append("  \(symbol)", .symbol) }
            return line
        }
        if let end {
            result.append(StyledLine("End: \(end).", .dim))
        } else {
            result.append(StyledLine("There may be more frames: `bt N` shows N.", .dim))
        }
        return result
    }
}
