import Expressions

/// Reads labels and lines of a NASM listing (`nasm -l`), which is all that a flat binary of NASM's has for source
/// lines: `     6 00000000 FA                          cli`.
///
/// The offsets of a listing count from the section's start; a number after `org` is added to them. Of several
/// sections the code's is read: where the others lie, the map file says. The lines are those of the listing itself,
/// so that it can be listed.
struct NASMListing {
    private var file = SymbolFile(.map)
    private var origin: UInt64 = 0
    /// Labels that stand before the offset of the code that they name.
    private var waiting: [String] = []
    /// What follows is in another section, whose offsets count from 0 again and lie who knows where.
    private var isElsewhere = false
    /// The label that names with a leading dot belong to.
    private var parent = ""

    /// Nil where the first lines are none of a listing.
    static func read(_ bytes: [UInt8], path: String) -> SymbolFile? {
        var listing = NASMListing()
        listing.file.sources = [path]
        var number = 0
        var start = 0
        while start < bytes.count, listing.file.symbols.count < SymbolFile.maximumSymbols {
            let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
            number += 1
            // Every line has its number in front: the first that has none says that this is something else.
            guard listing.read(bytes[start..<end], number) else { return nil }
            start = end + 1
        }
        return listing.finished()
    }

    private consuming func finished() -> SymbolFile? {
        guard !file.rows.isEmpty, !file.symbols.isEmpty else { return nil }
        for index in file.symbols.indices { file.symbols[index].address &+= origin }
        for index in file.rows.indices {
            let row = file.rows[index]
            file.rows[index] = LineRow(address: row.address &+ origin, file: row.file, line: row.line)
        }
        file.lowest = file.rows.map(\.address).min() ?? 0
        file.end = (file.rows.map(\.address).max() ?? 0) &+ 1
        return file
    }

    private mutating func read(_ line: ArraySlice<UInt8>, _ number: Int) -> Bool {
        // Columns: the source's line number in six, then a space, the offset in eight, a space, the bytes.
        guard let first = line.firstIndex(where: { $0 != 0x20 }) else { return number > 1 }
        guard first - line.startIndex <= 5, let digits = Self.end(of: line, from: first, Self.isDigit),
            digits - line.startIndex >= 6, digits == line.endIndex || line[digits] == 0x20
        else { return false }
        var source = digits
        var offset: UInt64?
        let place = digits + 1
        if place + 8 < line.endIndex, line[place] != 0x20 {
            guard let end = Self.end(of: line, from: place, Self.isHexadecimal), end - place == 8 else {
                return false
            }
            offset = UInt64(String(decoding: line[place..<end], as: UTF8.self), radix: 16)
            source = end
            // The bytes, with brackets where they are to be relocated, end at a space.
            while source < line.endIndex, line[source] == 0x20 { source += 1 }
            while source < line.endIndex, line[source] != 0x20 { source += 1 }
        }
        if let label = readSource(line[source...]) { waiting.append(label) }
        guard let offset else { return true }
        guard !isElsewhere else {
            waiting = []
            return true
        }
        for name in waiting { file.symbols.append(Symbol(name: name, address: offset)) }
        waiting = []
        if file.rows.count < SymbolFile.maximumRows, file.rows.last?.address != offset {
            file.rows.append(LineRow(address: offset, file: 0, line: UInt32(clamping: number)))
        }
        return true
    }

    /// The label that a source line begins with; `org` is taken note of.
    private mutating func readSource(_ line: ArraySlice<UInt8>) -> String? {
        var words = line.split(maxSplits: 3) { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
        // `<1>`: what follows comes of a macro or of an included file.
        if words.first?.first == UInt8(ascii: "<") { words.removeFirst() }
        guard let first = words.first, first.first != UInt8(ascii: ";") else { return nil }
        let word = String(decoding: first.prefix(SymbolFile.maximumName), as: UTF8.self)
        let argument = words.dropFirst().first.map {
            String(decoding: $0.filter { $0 != UInt8(ascii: "]") }, as: UTF8.self)
        }
        switch word.lowercased() {
        case "org", "[org":
            if let value = argument.flatMap(NumberLiteral.parse) { origin = value }
            return nil
        case "section", "segment", "[section", "[segment", "endstruc":
            isElsewhere = argument != nil && argument != ".text"
            return nil
        case "absolute", "[absolute", "struc":
            isElsewhere = true
            return nil
        default: break
        }
        guard let colon = word.firstIndex(of: ":"), colon > word.startIndex else { return nil }
        let name = String(word[..<colon])
        guard
            name.utf8.allSatisfy({ Lexer.isWord($0) || $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: "~") }),
            let byte = name.utf8.first, !Self.isDigit(byte), waiting.count < 1000
        else { return nil }
        // `.again` under `start` is `start.again`; `..@x` belongs to none.
        if name.hasPrefix("."), !name.hasPrefix("..") { return parent + name }
        parent = name
        return name
    }

    private static func isDigit(_ byte: UInt8) -> Bool { NumberLiteral.isDigit(byte) }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
    }

    /// Where the run of bytes that begins at `start` ends; nil where there is none.
    private static func end(
        of line: ArraySlice<UInt8>, from start: Int, _ belongs: (UInt8) -> Bool
    ) -> Int? {
        let end = line[start...].firstIndex { !belongs($0) } ?? line.endIndex
        return end > start ? end : nil
    }
}
