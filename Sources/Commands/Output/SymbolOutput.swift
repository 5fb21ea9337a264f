import Debugger
import Expressions
import Symbols

/// A file of symbols, as `symbols` lists it.
public struct SymbolFileRow: Sendable, Hashable, Encodable {
    public var path: String
    /// "elf" or "map".
    public var format: String
    public var symbols: Int
    /// Rows of its table of source lines.
    public var lines: Int
    public var start: Hex
    /// The first address after it.
    public var end: Hex
    /// What was added to the addresses of the file.
    public var shift: Int64
    public var warnings: [String]

    init(_ source: SymbolSource) {
        path = source.path
        format = source.format
        symbols = source.symbols
        lines = source.lines
        start = Hex(source.start)
        end = Hex(source.end)
        shift = source.shift
        warnings = source.warnings
    }

    fileprivate var moved: String {
        shift == 0 ? "" : shift < 0 ? "-" + Hex(shift.magnitude).description : "+" + Hex(shift).description
    }
}

/// `symbols`.
public struct SymbolFiles: CommandOutput, Hashable {
    public var files: [SymbolFileRow]

    public func lines(width: Int) -> [StyledLine] {
        guard !files.isEmpty else { return [StyledLine("No symbols are loaded.")] }
        var table = TextTable(
            ["File", "Symbols", "Lines", "From", "To", "Moved by"], rightAligned: [1, 2])
        for file in files {
            table.add([
                .init(file.path), .init(grouped(file.symbols)), .init(grouped(file.lines)),
                .init(Hex.padded(file.start.value, width: 8), .address),
                .init(Hex.padded(file.end.value, width: 8), .address), .init(file.moved),
            ])
        }
        return table.lines
    }
}

/// `symbols FILE`.
public struct SymbolsLoaded: CommandOutput, Hashable {
    public var file: SymbolFileRow

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("\(file.path): \(counted(file.symbols, "symbol"))")
        line.append(file.lines > 0 ? ", \(counted(file.lines, "source line"))" : ", no source lines")
        line.append(", ")
        line.append("\(file.start)", .address)
        line.append(" to ")
        line.append("\(file.end)", .address)
        if !file.moved.isEmpty { line.append(", moved by \(file.moved)") }
        return [line] + file.warnings.map { StyledLine($0, .warning) }
    }
}

/// `info symbol`.
public struct SymbolAt: CommandOutput, Hashable {
    public var linear: Hex
    public var symbol: String
    public var address: Hex
    public var offset: UInt64
    /// 0 where it is not known.
    public var size: UInt64
    public var kind: String
    /// `boot.c:12`.
    public var source: String?

    init(_ linear: UInt64, _ place: SymbolPlace, _ source: SourceLine?) {
        self.linear = Hex(linear)
        symbol = place.symbol.name
        address = Hex(place.symbol.address)
        offset = place.offset
        size = place.symbol.size
        kind = "\(place.symbol.kind)"
        self.source = source?.description
    }

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("\(linear)", .address)
        line.append(" is ")
        line.append(symbol, .symbol)
        if offset > 0 { line.append("+\(Hex(offset))", .symbol) }
        if size > 0 { line.append(", \(kind) of \(counted(size, "byte")) at \(address)", .dim) }
        if let source { line.append(", \(source)", .dim) }
        return [line]
    }
}

/// `info address` and `info symbols`.
public struct SymbolList: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        public var name: String
        /// Linear; of a constant its value.
        public var address: Hex
        public var size: UInt64
        /// "function", "data", "label" or "constant".
        public var kind: String
        public var isGlobal: Bool
        public var source: String?
    }

    public var symbols: [Row]
    /// There are more.
    public var isCut: Bool

    init(_ symbols: [Symbol], isCut: Bool, _ table: SymbolTable) {
        self.isCut = isCut
        self.symbols = symbols.map { symbol in
            Row(
                name: symbol.name, address: Hex(symbol.address), size: symbol.size, kind: "\(symbol.kind)",
                isGlobal: symbol.isGlobal,
                source: symbol.kind == .constant || symbol.kind == .data
                    ? nil : table.line(at: symbol.address)?.description)
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var table = TextTable(["Address", "Size", "Kind", "Symbol", "Source"], rightAligned: [1])
        for row in symbols {
            table.add([
                .init(Hex.padded(row.address.value, width: 8), .address),
                .init(row.size > 0 ? grouped(row.size) : ""),
                .init(row.kind + (row.isGlobal ? "" : ", local"), .dim), .init(row.name, .symbol),
                .init(row.source ?? "", .dim),
            ])
        }
        return table.lines
            + (isCut ? [StyledLine("There are more: give more of the name.", .warning)] : [])
    }
}

/// `show convenience`.
public struct Variables: CommandOutput, Hashable {
    public struct Row: Sendable, Hashable, Encodable {
        /// Without the `$`.
        public var name: String
        public var value: Hex
        public var text: String
    }

    public var variables: [Row]

    public func lines(width: Int) -> [StyledLine] {
        guard !variables.isEmpty else { return [StyledLine("No variable is set.")] }
        return variables.map { row in
            var line = StyledLine("$\(row.name) = ")
            line.append(row.text, .value)
            line.append("  \(row.value)", .dim)
            return line
        }
    }
}

/// What `set` gave to something that is no register.
public struct Assigned: CommandOutput, Hashable {
    /// As it was typed.
    public var name: String
    public var value: Hex
    public var text: String
    /// What may be wrong with it.
    public var note: String?

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("\(name) = ")
        line.append(text, .value)
        line.append("  \(value)", .dim)
        return [line] + (note.map { [StyledLine($0, .warning)] } ?? [])
    }
}
