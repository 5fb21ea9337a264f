/// Reads symbols from text, a line each: what `nm` prints (with `-S` and `-l` too), System.map and kallsyms, NASM's
/// map files, GNU ld's maps, and plain `ADDRESS NAME`.
///
/// Nothing is assumed of the bytes: a line that is none of these is passed over.
struct SymbolMap {
    private var file = SymbolFile(.map)
    private var passedOver = 0
    private var considered = 0
    private var sources: [String: UInt32] = [:]
    /// A NASM map: numbers are not padded, so that a section's `A` is an address and no type.
    private var isNASM = false
    /// In a NASM map, after `No Section`: values, not addresses.
    private var isConstant = false

    static func read(_ bytes: [UInt8]) throws(SymbolFileError) -> SymbolFile {
        guard !bytes.prefix(4096).contains(0) else {
            throw SymbolFileError(
                "it is neither an ELF file nor text", remedy: "give an ELF file, or what `nm` prints for it")
        }
        var map = SymbolMap()
        var start = 0
        while start < bytes.count, map.file.symbols.count < SymbolFile.maximumSymbols {
            let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
            map.read(line: bytes[start..<end])
            start = end + 1
        }
        return try map.finished()
    }

    private consuming func finished() throws(SymbolFileError) -> SymbolFile {
        guard !file.symbols.isEmpty else {
            throw SymbolFileError(
                "it has no line with an address and a name", remedy: "give what `nm` prints, or NASM's `map`")
        }
        guard passedOver <= max(considered / 2, 64) || isNASM else {
            throw SymbolFileError("\(passedOver) of \(considered) lines are no symbols")
        }
        let placed = file.symbols.filter { $0.kind != .constant }
        // Data below the code may count from 0: per-CPU variables of a kernel do.
        let code = placed.filter { $0.kind == .function }.map(\.address).min()
        file.lowest = code ?? placed.map(\.address).min() ?? 0
        let end = placed.map { $0.address &+ max($0.size, 1) }.max() ?? 0
        file.end = end
        return file
    }

    private mutating func read(line: ArraySlice<UInt8>) {
        if line.starts(with: Array("- NASM Map file".utf8)) { isNASM = true }
        if isNASM, line.starts(with: Array("---- ".utf8)) {
            isConstant = line.starts(with: Array("---- No Section".utf8))
            return
        }
        let words = Self.words(line)
        guard !words.isEmpty else { return }
        considered += 1
        let symbol =
            isNASM ? nasm(words) : nm(words, line) ?? Self.linker(words)
        guard let symbol else {
            passedOver += 1
            return
        }
        file.symbols.append(symbol)
    }

    // MARK: formats

    /// `ADDRESS [SIZE] TYPE NAME` or `ADDRESS NAME`. What follows the name is a module's, or with `nm -l` a source line's.
    private mutating func nm(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Symbol? {
        guard words.count >= 2, let address = Self.hexadecimal(words[0]) else { return nil }
        if words.count == 2 { return Self.symbol(address, 0, nil, words[1]) }
        if let type = Self.type(words[1]) {
            note(words.dropFirst(3).first, address)
            return Self.symbol(address, 0, type, words[2])
        }
        if words.count >= 4, let size = Self.hexadecimal(words[1]), let type = Self.type(words[2]) {
            note(words.dropFirst(4).first, address)
            return Self.symbol(address, size, type, words[3])
        }
        return nil
    }

    /// `nm -l`: `FILE:LINE` after the name.
    private mutating func note(_ word: ArraySlice<UInt8>?, _ address: UInt64) {
        guard let word, let colon = word.lastIndex(of: UInt8(ascii: ":")), colon > word.startIndex,
            let line = UInt32(String(decoding: word[(colon + 1)...], as: UTF8.self)), line > 0,
            file.rows.count < SymbolFile.maximumRows
        else { return }
        let path = Self.text(word[..<colon])
        if sources[path] == nil {
            guard file.sources.count < SymbolFile.maximumSources else { return }
            sources[path] = UInt32(file.sources.count)
            file.sources.append(path)
        }
        guard let number = sources[path] else { return }
        file.rows.append(LineRow(address: address, file: number, line: line))
    }

    /// `REAL VIRTUAL NAME`, or `VALUE NAME` for what is in no section.
    private func nasm(_ words: [ArraySlice<UInt8>]) -> Symbol? {
        guard let first = Self.hexadecimal(words[0]) else { return nil }
        if isConstant, words.count == 2 {
            return Symbol(name: Self.text(words[1]), address: first, kind: .constant)
        }
        guard words.count == 3, let address = Self.hexadecimal(words[1]) else { return nil }
        return Symbol(name: Self.text(words[2]), address: address)
    }

    /// GNU ld's `0x00007c00   NAME` and `0x00007c00   NAME = EXPRESSION`.
    private static func linker(_ words: [ArraySlice<UInt8>]) -> Symbol? {
        guard words.count >= 2, words[0].starts(with: Array("0x".utf8)), let address = hexadecimal(words[0]),
            isName(words[1]), words.count == 2 || words[2].elementsEqual("=".utf8)
        else { return nil }
        return Symbol(name: text(words[1]), address: address)
    }

    private static func symbol(
        _ address: UInt64, _ size: UInt64, _ type: UInt8?, _ name: ArraySlice<UInt8>
    ) -> Symbol? {
        guard isName(name) else { return nil }
        guard let type else { return Symbol(name: text(name), address: address, size: size) }
        let lower = type | 0x20
        let kind: Symbol.Kind
        switch lower {
        case UInt8(ascii: "a"): kind = .constant
        case UInt8(ascii: "t"), UInt8(ascii: "i"): kind = .function
        case UInt8(ascii: "w"): kind = .function
        case UInt8(ascii: "b"), UInt8(ascii: "d"), UInt8(ascii: "r"), UInt8(ascii: "g"), UInt8(ascii: "s"),
            UInt8(ascii: "v"), UInt8(ascii: "c"):
            kind = .data
        // `U`: defined elsewhere. `N` and what else there is: for debuggers, at no address.
        default: return nil
        }
        return Symbol(name: text(name), address: address, size: size, kind: kind, isGlobal: type != lower)
    }

    // MARK: words

    /// Cut at spaces and tabs, a few at most.
    private static func words(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split(maxSplits: 7, omittingEmptySubsequences: true) { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
    }

    /// One letter, or `?` or `-`.
    private static func type(_ word: ArraySlice<UInt8>) -> UInt8? {
        guard word.count == 1, let byte = word.first else { return nil }
        let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        return isLetter || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "-") ? byte : nil
    }

    private static func isName(_ word: ArraySlice<UInt8>) -> Bool {
        guard let first = word.first, word.count <= SymbolFile.maximumName else { return false }
        // A number is none; punctuation is of some other kind of file.
        return !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
            && (first >= 0x80 || "_.$?@~".utf8.contains(first)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first | 0x20))
    }

    /// Up to 16 digits, with or without `0x`.
    private static func hexadecimal(_ word: ArraySlice<UInt8>) -> UInt64? {
        var digits = word
        if digits.starts(with: Array("0x".utf8)) { digits = digits.dropFirst(2) }
        guard !digits.isEmpty, digits.count <= 16 else { return nil }
        var value: UInt64 = 0
        for byte in digits {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix(SymbolFile.maximumName), as: UTF8.self)
    }
}
