import X86

/// A place by name.
public struct SymbolPlace: Sendable, Hashable, CustomStringConvertible {
    public var symbol: Symbol
    /// In bytes after the symbol.
    public var offset: UInt64

    /// `puts` or `puts+0x4`.
    public var description: String { offset == 0 ? symbol.name : "\(symbol.name)+\(hex(offset))" }
}

/// A line of source and the code that it became.
public struct SourceLine: Sendable, Hashable, CustomStringConvertible {
    /// As the file of symbols has it.
    public var path: String
    /// From 1.
    public var line: Int
    /// Linear.
    public var start: UInt64
    /// The first address after its code.
    public var end: UInt64

    /// The path without its directories.
    public var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    /// `boot.c:12`.
    public var description: String { "\(name):\(line)" }
}

/// A file of symbols that was loaded.
public struct SymbolSource: Sendable, Hashable {
    /// As it was given.
    public var path: String
    /// "elf" or "map".
    public var format: String
    public var symbols: Int
    /// Rows of the table of source lines.
    public var lines: Int
    /// Linear: where what it describes begins, and the first address after it.
    public var start: UInt64
    public var end: UInt64
    /// What was added to the file's addresses.
    public var shift: Int64
    /// What could not be read of it.
    public var warnings: [String]
}

/// All that is known by name. A value: it can be looked up on any thread.
public struct SymbolTable: Sendable {
    private var modules: [SymbolModule] = []

    public init() {}

    public var isEmpty: Bool { modules.isEmpty }
    /// It knows of source lines.
    public var hasLines: Bool { modules.contains { !$0.rows.isEmpty } }

    /// In the order of loading.
    public var files: [SymbolSource] {
        modules.map { module in
            SymbolSource(
                path: module.path, format: module.format == .elf ? "elf" : "map",
                symbols: module.symbols.count,
                lines: module.rows.count, start: module.lowest, end: module.end,
                shift: Int64(bitPattern: module.shift), warnings: module.warnings)
        }
    }

    /// Adds a file; one of the same path is replaced.
    package mutating func add(_ module: SymbolModule) {
        modules.removeAll { $0.path == module.path }
        modules.append(module)
    }

    /// Reads a file and adds what it says, at the addresses that it was linked for.
    package mutating func load(_ path: String, with reader: SymbolReader) throws(SymbolFileError) {
        add(SymbolModule(try reader.read(path), path: path, shift: 0))
    }

    package mutating func removeAll() { modules = [] }

    // MARK: names

    /// The symbols of a name: global ones first, and those loaded last before others.
    public func symbols(named name: String) -> [Symbol] {
        guard !modules.isEmpty else { return [] }
        let all = modules.reversed().flatMap { $0.symbols(named: name) }
        return all.filter(\.isGlobal) + all.filter { !$0.isGlobal }
    }

    /// What a name stands for.
    public func address(of name: String) -> UInt64? { symbols(named: name).first?.address }

    /// The symbol at or before a linear address, if the address belongs to it.
    public func place(at address: UInt64) -> SymbolPlace? {
        var best: SymbolPlace?
        for module in modules.reversed() {
            guard let symbol = module.symbol(at: address) else { continue }
            let offset = address &- symbol.address
            if best.map({ offset < $0.offset }) ?? true { best = SymbolPlace(symbol: symbol, offset: offset) }
        }
        return best
    }

    /// Names that begin with `prefix`, sorted, each once, `limit` at most.
    public func names(startingWith prefix: String, limit: Int) -> [String] {
        var found: Set<String> = []
        for module in modules {
            for symbol in module.symbols where symbol.name.hasPrefix(prefix) {
                found.insert(symbol.name)
                if found.count >= limit { return found.sorted() }
            }
        }
        return found.sorted()
    }

    /// Names that a typing error may have made `name` of, best first.
    public func names(near name: String) -> [String] {
        var candidates: Set<String> = []
        let length = name.utf8.count
        for module in modules {
            // Names are many: those that differ in length, or from their first letter on, are not looked at.
            for symbol in module.symbols
            where abs(symbol.name.utf8.count - length) <= 2 && symbol.name.utf8.first == name.utf8.first {
                candidates.insert(symbol.name)
                if candidates.count >= 2000 { break }
            }
        }
        return nearest(to: name, among: candidates.sorted(), limit: 3)
    }

    /// All names that hold `text`, sorted, `limit` at most.
    public func symbols(containing text: String, limit: Int) -> [Symbol] {
        var found: [Symbol] = []
        for module in modules {
            for symbol in module.symbols where text.isEmpty || symbol.name.contains(text) {
                found.append(symbol)
                if found.count >= limit { break }
            }
        }
        return found.sorted { ($0.name, $0.address) < ($1.name, $1.address) }
    }

    /// Names of source files, without directories, that begin with `prefix`, sorted, each once, `limit` at most.
    public func sourceNames(startingWith prefix: String, limit: Int) -> [String] {
        var found: Set<String> = []
        for module in modules {
            for path in module.sources {
                let name = path.split(separator: "/").last.map(String.init) ?? path
                if name.hasPrefix(prefix) { found.insert(name) }
                if found.count >= limit { return found.sorted() }
            }
        }
        return found.sorted()
    }

    // MARK: lines

    /// The source line that became the code at a linear address.
    public func line(at address: UInt64) -> SourceLine? {
        for module in modules.reversed() {
            guard let row = module.row(at: address), let line = sourceLine(module, row) else { continue }
            return line
        }
        return nil
    }

    private func sourceLine(_ module: SymbolModule, _ index: Int) -> SourceLine? {
        let row = module.rows[index]
        guard row.line > 0, module.sources.indices.contains(Int(row.file)) else { return nil }
        return SourceLine(
            path: module.sources[Int(row.file)], line: Int(row.line), start: row.address,
            end: module.end(ofRow: index))
    }

    /// The paths of the source files that a name, with or without directories, may stand for.
    public func paths(named name: String) -> [String] {
        guard !name.isEmpty else { return [] }
        var found: Set<String> = []
        for path in modules.flatMap(\.sources) where path == name || path.hasSuffix("/" + name) {
            found.insert(path)
        }
        return found.sorted()
    }

    /// The code of a line or, where it has none, of the next line that has: one entry for each place that the
    /// compiler put it to, by address.
    public func code(ofLine line: Int, path: String) -> [SourceLine] {
        guard line > 0, line <= Int(LineRow.maximumLine) else { return [] }
        let wanted = UInt32(line)
        var best = UInt32.max
        var found: [(module: SymbolModule, row: Int)] = []
        for module in modules {
            guard let number = module.sources.firstIndex(of: path) else { continue }
            for (index, row) in module.rows.enumerated()
            where Int(row.file) == number && row.line >= wanted && row.line <= best && !row.endsSequence {
                if row.line < best {
                    best = row.line
                    found = []
                }
                found.append((module, index))
            }
        }
        // Where one of them is a good place to stop, the others are not: they are parts of it.
        let good = found.filter { $0.module.rows[$0.row].isStatement }
        var lines: [SourceLine] = []
        var last: (module: SymbolModule, row: Int)?
        for place in good.isEmpty ? found : good {
            // Further rows of a line that goes on are no further places.
            let goesOn =
                last.map { $0.module === place.module && isOneLine($0.module, $0.row...place.row) } ?? false
            last = place
            if !goesOn, let line = sourceLine(place.module, place.row) { lines.append(line) }
        }
        return lines.sorted { $0.start < $1.start }
    }

    private func isOneLine(_ module: SymbolModule, _ rows: ClosedRange<Int>) -> Bool {
        let first = module.rows[rows.lowerBound]
        return module.rows[rows].allSatisfy {
            !$0.endsSequence && $0.file == first.file && $0.line == first.line
        }
    }
}
