/// A file of symbols as bytes, as the reader's process sends it: little-endian numbers, texts with their length in
/// front. Who reads it trusts nothing in it.
extension SymbolFile {
    private static let magic: UInt32 = 0x314D_5953

    package var encoded: [UInt8] {
        var bytes = ByteWriter()
        bytes.add(Self.magic)
        bytes.add(format.rawValue)
        bytes.add(lowest)
        bytes.add(end)
        bytes.add(UInt32(truncatingIfNeeded: symbols.count))
        for symbol in symbols {
            bytes.add(symbol.address)
            bytes.add(symbol.size)
            bytes.add(symbol.kind.rawValue | (symbol.isGlobal ? 0x80 : 0))
            bytes.add(symbol.name)
        }
        for list in [sources, warnings] {
            bytes.add(UInt32(truncatingIfNeeded: list.count))
            for text in list { bytes.add(text) }
        }
        bytes.add(UInt32(truncatingIfNeeded: rows.count))
        for row in rows {
            bytes.add(row.address)
            bytes.add(row.file)
            bytes.add(row.line)
            bytes.add(UInt8((row.isStatement ? 1 : 0) | (row.endsSequence ? 2 : 0)))
        }
        return bytes.bytes
    }

    /// Nil where the bytes are not what ``encoded`` gives.
    package init?(encoded bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        guard reader.word32() == Self.magic, let format = reader.byte().flatMap(Format.init(rawValue:)),
            let lowest = reader.word64(), let end = reader.word64(), let count = reader.word32(),
            Int(count) <= Self.maximumSymbols
        else { return nil }
        self.init(format)
        self.lowest = lowest
        self.end = end
        for _ in 0..<count {
            guard let address = reader.word64(), let size = reader.word64(), let flags = reader.byte(),
                let kind = Symbol.Kind(rawValue: flags & 0x7F), let name = reader.text()
            else { return nil }
            symbols.append(
                Symbol(name: name, address: address, size: size, kind: kind, isGlobal: flags & 0x80 != 0))
        }
        guard let sources = reader.texts(), let warnings = reader.texts(), let rowCount = reader.word32(),
            Int(rowCount) <= Self.maximumRows
        else { return nil }
        self.sources = sources
        self.warnings = warnings
        for _ in 0..<rowCount {
            guard let address = reader.word64(), let file = reader.word32(), let line = reader.word32(),
                let flags = reader.byte(), Int(file) < sources.count
            else { return nil }
            rows.append(
                LineRow(
                    address: address, file: file, line: line, isStatement: flags & 1 != 0,
                    endsSequence: flags & 2 != 0))
        }
        guard reader.isAtEnd else { return nil }
    }
}

private struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func add(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func add(_ text: String) {
        let utf8 = Array(text.utf8.prefix(Int(UInt16.max)))
        add(UInt16(utf8.count))
        bytes.append(contentsOf: utf8)
    }
}

private struct ByteReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { place == bytes.count }

    private mutating func number(_ size: Int) -> UInt64? {
        guard bytes.count - place >= size else { return nil }
        defer { place += size }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(bytes[place + index]) << UInt64(index * 8) }
        return value
    }

    mutating func byte() -> UInt8? { number(1).map { UInt8(truncatingIfNeeded: $0) } }
    mutating func word32() -> UInt32? { number(4).map { UInt32(truncatingIfNeeded: $0) } }
    mutating func word64() -> UInt64? { number(8) }

    mutating func text() -> String? {
        guard let count = number(2).map(Int.init(truncatingIfNeeded:)), bytes.count - place >= count else {
            return nil
        }
        defer { place += count }
        return String(decoding: bytes[place..<place + count], as: UTF8.self)
    }

    mutating func texts() -> [String]? {
        guard let count = word32(), Int(count) <= SymbolFile.maximumSources else { return nil }
        var texts: [String] = []
        for _ in 0..<count {
            guard let text = text() else { return nil }
            texts.append(text)
        }
        return texts
    }
}
