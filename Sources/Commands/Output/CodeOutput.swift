import Debugger
import Symbols

/// `disassemble` and `x/i`.
public struct CodeOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        /// Linear.
        public var linear: Hex
        public var cs: Hex
        public var ip: Hex
        /// As pairs of digits; empty where memory cannot be read.
        public var bytes: String
        public var text: String
        /// The instruction that the vCPU does next.
        public var isNext: Bool
        public var hasBreakpoint: Bool
        /// The symbol that the address belongs to: `puts+0x4`.
        public var symbol: String?
        /// The source line that begins here, where source was asked for and is known; absent otherwise.
        public var source: StopOutput.Source?
        /// A line begins here that is to be shown above: `puts:`.
        fileprivate var label: String?

        private enum CodingKeys: String, CodingKey {
            case linear, cs, ip, bytes, text, isNext, hasBreakpoint, symbol, source
        }
    }

    public var vcpu: Int
    public var instructions: [Row]
    /// Ctrl-C ended it before all that was asked for; absent where it did not.
    public var isCut: Bool?
    private var digits: Int

    private enum CodingKeys: String, CodingKey { case vcpu, instructions, isCut }

    init(
        vcpu: Int, _ lines: [CodeLine], next: UInt64?, breakpoints: Set<UInt64>, digits: Int,
        isCut: Bool = false, source: ((UInt64) -> StopOutput.Source?)? = nil
    ) {
        self.vcpu = vcpu
        self.isCut = isCut ? true : nil
        self.digits = digits
        var last: SymbolPlace?
        var lastSource: StopOutput.Source?
        instructions = lines.map { line in
            defer { last = line.place }
            let found = source?(line.address)
            defer { lastSource = found }
            let isNew = line.place.map { $0.symbol != last?.symbol } ?? false
            return Row(
                linear: Hex(line.address), cs: Hex(line.selector), ip: Hex(line.ip),
                bytes: Hex.bytes(line.bytes), text: line.text, isNext: line.address == next,
                hasBreakpoint: breakpoints.contains(line.address),
                symbol: line.place?.description, source: found == lastSource ? nil : found,
                label: isNew ? line.place.map { "\($0):" } : nil)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        let byteWidth = min(20, max(6, instructions.map(\.bytes.count).max() ?? 0))
        return instructions.flatMap { row in
            var line = StyledLine()
            line.appendMark(row.hasBreakpoint)
            line.append(row.isNext ? "=> " : "   ", .pc)
            line.append(
                Hex.digits(row.cs.value, width: 4) + ":" + Hex.digits(row.ip.value, width: digits), .address)
            line.append("  " + (row.bytes.isEmpty ? "??" : row.bytes).padded(byteWidth) + "  ", .dim)
            line.append(row.text, row.isNext ? .pc : .mnemonic)
            return (row.label.map { [StyledLine($0, .symbol)] } ?? [])
                + (row.source.map { [$0.styled] } ?? [])
                + [line]
        } + (isCut == true ? [StyledLine("Ended before the rest; `x/i` goes on from here.", .warning)] : [])
    }
}

/// `print-stack`.
public struct StackOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var linear: Hex
        /// The value of SP that points here.
        public var offset: Hex
        /// Null where memory cannot be read.
        public var value: Hex?
        /// The symbol that the value lies in, as an offset in CS.
        public var symbol: String?
    }

    public var vcpu: Int
    /// Bytes of a word.
    public var width: Int
    public var words: [Row]
    private var digits: Int

    private enum CodingKeys: String, CodingKey { case vcpu, width, words }

    init(vcpu: Int, _ slots: [StackSlot], digits: Int) {
        self.vcpu = vcpu
        self.digits = digits
        width = slots.first?.width ?? 2
        words = slots.map {
            Row(
                linear: Hex($0.linear), offset: Hex($0.offset), value: $0.value.map { Hex($0) },
                symbol: $0.place?.description)
        }
    }

    public func lines(width terminalWidth: Int) -> [StyledLine] {
        words.enumerated().map { index, word in
            var line = StyledLine(index == 0 ? "=> " : "   ", .pc)
            line.append(Hex.digits(word.offset.value, width: digits), .address)
            line.append("  ")
            if let value = word.value {
                line.append(Hex.digits(value.value, width: width * 2), .value)
                line.append("  \(value.value)", .dim)
                if let symbol = word.symbol { line.append("  <\(symbol)>", .symbol) }
            } else {
                line.append("??", .error)
            }
            return line
        }
    }
}
