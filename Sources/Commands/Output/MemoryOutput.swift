import Debugger
import Expressions
import Symbols
import X86

/// `x` and `xp`: units of memory in rows.
public struct MemoryOutput: CommandOutput, Hashable {
    /// As it was given.
    public var address: String
    /// Bytes of a unit.
    public var unit: Int
    /// GDB's letter.
    public var format: String
    /// A unit that cannot be read whole is null.
    public var values: [Hex?]
    /// Why some of it cannot be read.
    public var unreadable: [String]
    /// The symbol that the memory lies in: `counter+0x4`.
    public var symbol: String?
    /// Of format `a`: the symbols that the values lie in, null for those that lie in none.
    public var symbols: [String?]?

    private var start: Address
    private var place: SymbolPlace?
    private var letter: DisplayFormat.Letter
    /// Each byte, nil where it cannot be read.
    private var bytes: [UInt8?]
    /// Each unit as it is shown, nil where it cannot be read.
    private var cells: [String?]
    /// Bytes that were asked for and are not here: Ctrl-C ended it before.
    public var missing: Int?

    private enum CodingKeys: String, CodingKey {
        case address, unit, format, values, unreadable, symbol, symbols, missing
    }

    /// So many units are made between two looks at whether to go on.
    private static let slice = 4096

    init(
        _ image: MemoryImage, unit: DisplayFormat.Unit, letter: DisplayFormat.Letter,
        symbols table: SymbolTable = SymbolTable(), place: SymbolPlace? = nil,
        isOver: () -> Bool = { false }
    ) {
        self.place = place
        symbol = place?.description
        address = image.address.description
        self.unit = unit.rawValue
        format = String(letter.rawValue)
        start = image.address
        self.letter = letter
        let count = (image.bytes.count + unit.rawValue - 1) / unit.rawValue
        values = []
        cells = []
        let names = letter == .address && !table.isEmpty
        if names { symbols = [] }
        while values.count < count, values.isEmpty || !isOver() {
            for index in values.count..<min(values.count + Self.slice, count) {
                let value = image.value(at: index * unit.rawValue, width: unit.rawValue)
                values.append(value.map { Hex($0) })
                let name = names ? value.flatMap { table.place(at: $0)?.description } : nil
                if names { symbols?.append(name) }
                cells.append(
                    value.map { letter.text($0, bytes: unit.rawValue) + (name.map { " <\($0)>" } ?? "") })
            }
        }
        let shown = min(values.count * unit.rawValue, image.bytes.count)
        bytes = (0..<shown).map { image[$0] }
        if shown < image.bytes.count { missing = image.bytes.count - shown }
        unreadable = image.gaps.map {
            let first = image.address.advanced(by: $0.range.lowerBound)
            return "\(first), \(counted($0.range.count, "byte")): \($0.reason)"
        }
    }

    /// GDB's form: `0x7c10 <counter+0x4>`. A row that another symbol begins in is still so far from this one.
    private func label(at offset: Int) -> String {
        let address = start.advanced(by: offset).description
        guard var place else { return address }
        place.offset += UInt64(offset)
        return "\(address) <\(place)>"
    }

    public func lines(width: Int) -> [StyledLine] {
        let cellWidth = max(2, cells.map { $0?.count ?? 2 }.max() ?? 2)
        // Characters are shown beside bytes only: in wider units they would stand in another order.
        let hasText = unit == 1 && letter == .hex
        let room =
            width - start.advanced(by: bytes.count).description.count - 2 - (symbol.map { $0.count + 6 } ?? 0)
        var perRow = 16 / unit
        while perRow > 1, perRow * (cellWidth + 1) + (hasText ? perRow + 2 : 0) > room { perRow /= 2 }

        let columns = max(1, min(perRow, cells.count))
        let firsts = Array(stride(from: 0, to: cells.count, by: perRow))
        let labels = firsts.map { label(at: $0 * unit) }
        let labelWidth = labels.map(\.count).max() ?? 0

        var result: [StyledLine] = []
        for (first, label) in zip(firsts, labels) {
            let row = first..<min(first + perRow, cells.count)
            var line = StyledLine(label.padded(labelWidth), .address)
            line.append(":")
            for index in row {
                line.append(" ")
                let cell = cells[index] ?? "??"
                line.append(cell.leftPadded(cellWidth), cells[index] == nil ? .error : .value)
            }
            if hasText {
                let text = row.map { index -> Character in
                    guard let byte = bytes[index] else { return "?" }
                    return (0x20..<0x7F).contains(byte) ? Character(Unicode.Scalar(byte)) : "."
                }
                line.append(
                    String(repeating: " ", count: (columns - row.count) * (cellWidth + 1) + 2)
                        + String(text), .dim)
            }
            result.append(line)
        }
        result += unreadable.map { StyledLine("cannot be read: \($0)", .warning) }
        if let missing {
            result.append(
                StyledLine(
                    "Ended before \(counted(missing, "more byte")); `x` goes on from here.", .warning))
        }
        return result
    }
}

/// `x/s`: strings.
public struct StringsOutput: CommandOutput, Hashable {
    public struct Entry: Sendable, Hashable, Encodable {
        public var address: String
        /// With C's escapes.
        public var text: String
        /// Memory ends before the string does.
        public var isUnreadable: Bool
        /// The string is longer than what is shown.
        public var isCut: Bool
    }

    public var strings: [Entry]

    public func lines(width: Int) -> [StyledLine] {
        strings.map { entry in
            var line = StyledLine(entry.address, .address)
            line.append(": \"\(entry.text)\"")
            if entry.isCut { line.append("...", .dim) }
            if entry.isUnreadable { line.append(" ?? cannot be read from here on", .error) }
            return line
        }
    }
}

/// `print`.
public struct PrintOutput: CommandOutput, Hashable {
    /// What `$N` is from now on; absent for `output`, which keeps nothing.
    public var number: Int?
    public var value: Hex
    /// In bits: 8, 16, 32 or 64.
    public var width: Int
    public var isSigned: Bool
    /// In the format asked for, or in decimal.
    public var text: String
    /// The address as it was given, of an expression that is one (`SEG:OFF`, `p:…`, `v:…`).
    public var address: String?
    /// The linear address that the offset in `$pc`, `$sp` or `$bp` stands for, where its segment does not begin at 0.
    public var linear: Hex?
    /// The symbol that an address belongs to: `puts+0x4`.
    public var symbol: String?
    private var showsHex: Bool

    private enum CodingKeys: String, CodingKey {
        case number, value, width, isSigned, text, address, linear, symbol
    }

    init(_ result: Value, letter: DisplayFormat.Letter?, number: Int? = nil, symbol: String? = nil) {
        self.number = number
        self.symbol = symbol
        value = Hex(result.cut)
        width = result.width
        isSigned = result.isSigned
        text = Self.text(result, letter)
        address = result.address?.description
        if let base = result.base, base != 0, case .linear(let place) = result.place { linear = Hex(place) }
        showsHex = letter == nil
    }

    /// A value in a format, or in decimal.
    static func text(_ result: Value, _ letter: DisplayFormat.Letter?) -> String {
        switch letter {
        // GDB prints no zeros that nobody asked for; `x` pads them, `print` does not.
        case .hex, .address: Hex(result.cut).description
        case .binary: String(result.cut, radix: 2)
        case nil:
            (result.isSigned ? DisplayFormat.Letter.signed : .unsigned)
                .text(result.bits, bytes: max(1, result.width / 8))
        case let letter?: letter.text(result.bits, bytes: max(1, result.width / 8))
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine(number.map { "$\($0) = " } ?? "")
        line.append(text, .value)
        if showsHex { line.append("  \(value)", .dim) }
        if let symbol { line.append(" <\(symbol)>", .symbol) }
        if let address { line.append("  (\(address))", .address) }
        if let linear { line.append("  (linear \(linear))", .address) }
        return [line]
    }
}

/// `setpmem` and `set *(TYPE*)ADDR`.
public struct MemoryWritten: CommandOutput, Hashable {
    public var address: String
    public var count: UInt64
    /// As pairs of digits, the first byte first.
    public var bytes: String

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("Wrote \(counted(count, "byte")) at ")
        line.append(address, .address)
        line.append(": \(bytes)")
        return [line]
    }
}

/// `writemem` and `loadmem`.
public struct FileTransfer: CommandOutput, Hashable {
    private var verb: String
    public var file: String
    public var address: String
    public var bytes: UInt64

    private enum CodingKeys: String, CodingKey { case file, address, bytes }

    init(verb: String, file: String, address: String, bytes: UInt64) {
        self.verb = verb
        self.file = file
        self.address = address
        self.bytes = bytes
    }

    public func lines(width: Int) -> [StyledLine] {
        [StyledLine("\(verb) \(counted(bytes, "byte")): \(file), \(address)")]
    }
}
