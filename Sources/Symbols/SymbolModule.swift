/// One file of symbols where it lies in the guest, ready for looking up. It never changes.
package final class SymbolModule: Sendable {
    /// As the user gave it.
    package let path: String
    package let format: SymbolFile.Format
    /// What is added to the file's addresses; it wraps.
    package let shift: UInt64
    /// What it says things about, moved.
    package let lowest: UInt64
    package let end: UInt64
    package let warnings: [String]
    package let sources: [String]
    /// By address.
    package let symbols: [Symbol]
    /// By address; at one address the end of a sequence comes first.
    package let rows: [LineRow]
    /// Indices into ``symbols``; global ones first.
    private let byName: [String: [Int32]]
    /// Indices into ``symbols`` of what can name a place, by address.
    private let places: [Int32]

    /// A label without a size names what follows it, but not for ever.
    private static let reach: UInt64 = 1 << 16
    /// What a map's last label names: where its code ends is not known, and a page is much for one routine.
    private static let reachOfLast: UInt64 = 1 << 12

    package init(_ file: consuming SymbolFile, path: String, shift: UInt64) {
        self.path = path
        self.shift = shift
        format = file.format
        lowest = file.lowest &+ shift
        end = file.end &+ shift
        warnings = file.warnings
        sources = file.sources
        var symbols = file.symbols
        var rows = file.rows
        file = SymbolFile(.map)
        if shift != 0 {
            for index in symbols.indices where symbols[index].kind != .constant {
                symbols[index].address &+= shift
            }
            for index in rows.indices { rows[index].address &+= shift }
        }
        symbols.sort { ($0.address, Self.rank($0), $0.name) < ($1.address, Self.rank($1), $1.name) }
        // The rows of one sequence at one address keep their order: the last of them counts.
        rows = rows.enumerated().sorted { a, b in
            (a.element.address, a.element.endsSequence ? 0 : 1, a.offset)
                < (b.element.address, b.element.endsSequence ? 0 : 1, b.offset)
        }.map(\.element)
        var byName: [String: [Int32]] = [:]
        byName.reserveCapacity(symbols.count)
        for (index, symbol) in symbols.enumerated() { byName[symbol.name, default: []].append(Int32(index)) }
        for (name, indices) in byName where indices.count > 1 {
            byName[name] = indices.sorted {
                (symbols[Int($0)].isGlobal ? 0 : 1, $0) < (symbols[Int($1)].isGlobal ? 0 : 1, $1)
            }
        }
        self.byName = byName
        places = symbols.indices.filter { symbols[$0].kind != .constant }.map { Int32($0) }
        self.symbols = symbols
        self.rows = rows
    }

    /// Of several names for one address the best one comes last.
    private static func rank(_ symbol: Symbol) -> Int {
        let kind =
            switch symbol.kind {
            case .function: 3
            case .data: 2
            case .label: 1
            case .constant: 0
            }
        return (symbol.isGlobal ? 8 : 0) + kind + (symbol.size > 0 ? 4 : 0)
    }

    /// The symbols of that name, global ones first.
    package func symbols(named name: String) -> [Symbol] { (byName[name] ?? []).map { symbols[Int($0)] } }

    /// The symbol that an address lies in or, without sizes, after.
    package func symbol(at address: UInt64) -> Symbol? {
        // A map does not say where its last symbol ends.
        guard format == .map || address >= lowest && address < end else { return nil }
        let after = places.partition { symbols[Int($0)].address > address }
        guard after > 0 else { return nil }
        let symbol = symbols[Int(places[after - 1])]
        let distance = address - symbol.address
        if symbol.size > 0 { return distance < symbol.size ? symbol : nil }
        return distance < (format == .map && after == places.count ? Self.reachOfLast : Self.reach)
            ? symbol : nil
    }

    /// The row that covers an address.
    package func row(at address: UInt64) -> Int? {
        let after = rows.partition { $0.address > address }
        guard after > 0, !rows[after - 1].endsSequence else { return nil }
        // Nor does it say where its last line ends.
        guard format == .elf || address - rows[after - 1].address < Self.reach else { return nil }
        return after - 1
    }

    /// Where a row's code ends.
    package func end(ofRow row: Int) -> UInt64 {
        var next = row + 1
        while next < rows.count, rows[next].address == rows[row].address { next += 1 }
        return next < rows.count ? rows[next].address : rows[row].address &+ 1
    }
}

extension Array {
    /// The first index for which `isBehind` holds; it must hold for all that follow.
    package func partition(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = low + (high - low) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
