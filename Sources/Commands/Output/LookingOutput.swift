import Debugger
import X86

/// `find`.
public struct FindOutput: CommandOutput, Hashable {
    /// As pairs of digits.
    public var pattern: String
    public var matches: [String]
    /// Bytes looked at.
    public var searched: UInt64
    /// Bytes of the range that could not be read.
    public var unreadable: UInt64
    /// "complete", "limit" or "interrupted".
    public var end: String

    init(_ pattern: [UInt8], _ result: SearchResult) {
        self.pattern = Hex.bytes(pattern)
        matches = result.matches.map(\.description)
        searched = result.searched
        unreadable = result.unreadable
        end = result.end.rawValue
    }

    public func lines(width: Int) -> [StyledLine] {
        var result = matches.map { StyledLine($0, .address) }
        switch end {
        case LookEnd.limit.rawValue:
            result.append(
                StyledLine("There are more: `find/N` lists N of them.", .warning))
        case LookEnd.interrupted.rawValue:
            result.append(StyledLine("Interrupted after \(readableSize(searched)).", .warning))
        default:
            let count = matches.isEmpty ? "Not found" : "\(counted(matches.count, "match", "matches"))"
            result.append(StyledLine("\(count) in \(readableSize(searched)).", .dim))
        }
        if unreadable > 0 {
            result.append(StyledLine("\(readableSize(unreadable)) of the range cannot be read.", .warning))
        }
        return result
    }

    /// Whole units, the rest cut off: nobody counts the bytes of a gigabyte.
    private func readableSize(_ bytes: UInt64) -> String {
        for (shift, unit) in [(UInt64(30), "GiB"), (20, "MiB"), (10, "KiB")] where bytes >= 10 << shift {
            return "\(bytes >> shift) \(unit)"
        }
        return shortSize(bytes)
    }
}

/// `crc`.
public struct ChecksumOutput: CommandOutput, Hashable {
    public var address: String
    public var bytes: UInt64
    public var crc32: Hex

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("CRC-32 of \(counted(bytes, "byte")) at ")
        line.append(address, .address)
        line.append(": ")
        line.append(Hex.padded(crc32.value, width: 8), .value)
        return [line]
    }
}

/// `hexdump`.
public struct HexdumpOutput: CommandOutput, Hashable {
    public var address: String
    /// As pairs of digits; `??` where a byte cannot be read.
    public var bytes: String
    /// Why some of it cannot be read.
    public var unreadable: [String]
    private var start: Address
    private var values: [UInt8?]

    private enum CodingKeys: String, CodingKey { case address, bytes, unreadable }

    init(_ image: MemoryImage) {
        address = image.address.description
        start = image.address
        values = image.bytes.indices.map { image[$0] }
        bytes = values.map { $0.map { Hex.digits($0, width: 2) } ?? "??" }.joined()
        unreadable = image.gaps.map {
            let first = image.address.advanced(by: $0.range.lowerBound)
            return "\(first), \(counted($0.range.count, "byte")): \($0.reason)"
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var result: [StyledLine] = []
        let labels = start.advanced(by: values.count).description.count
        var isRepeating = false
        for row in stride(from: 0, to: values.count, by: 16) {
            let part = values[row..<min(row + 16, values.count)]
            let isLast = row + 16 >= values.count
            if row >= 16, !isLast, part.elementsEqual(values[(row - 16)..<row]) {
                if !isRepeating { result.append(StyledLine("*", .dim)) }
                isRepeating = true
                continue
            }
            isRepeating = false
            var line = StyledLine(start.advanced(by: row).description.padded(labels), .address)
            line.append("  ")
            for index in 0..<16 {
                if index == 8 { line.append(" ") }
                guard row + index < values.count else {
                    line.append("   ")
                    continue
                }
                let byte = values[row + index]
                line.append(
                    (byte.map { Hex.digits($0, width: 2) } ?? "??") + " ", byte == nil ? .error : .value)
            }
            let text = part.map { byte -> Character in
                guard let byte else { return "?" }
                return (0x20..<0x7F).contains(byte) ? Character(Unicode.Scalar(byte)) : "."
            }
            line.append(" |" + String(text) + "|", .dim)
            result.append(line)
        }
        return result + unreadable.map { StyledLine("cannot be read: \($0)", .warning) }
    }
}

/// `telescope`.
public struct TelescopeOutput: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var address: String
        public var linear: Hex
        /// Null where it cannot be read.
        public var value: Hex?
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

    init(vcpu: Int, _ rows: [TelescopeRow]) {
        self.vcpu = vcpu
        width = rows.first?.width ?? 2
        words = rows.map { row in
            let (kind, text) = Self.end(row.chain)
            return Row(
                address: row.address.description, linear: Hex(row.linear), value: row.value.map { Hex($0) },
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
        /// "innermost", "near", "far", "interrupt" or "unverified".
        public var kind: String
    }

    public var vcpu: Int
    /// Bytes of a return address.
    public var width: Int
    public var frames: [Row]
    /// Why there are no more; absent where as many were asked for.
    public var end: String?

    init(vcpu: Int, _ trace: Backtrace) {
        self.vcpu = vcpu
        width = trace.width
        end = trace.end
        frames = trace.frames.enumerated().map { level, frame in
            Row(
                level: level, cs: Hex(frame.selector), ip: Hex(frame.ip), linear: Hex(frame.linear),
                framePointer: Hex(frame.framePointer), kind: frame.kind.rawValue)
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
            case Backtrace.Frame.Kind.unverified.rawValue:
                line.append("  ? no call stands before it", .warning)
            default: break
            }
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
