/// A piece of an expression, with the column it begins at.
struct Token: Equatable {
    enum Kind: Equatable {
        /// Letters, digits, `_`, `.` and `$`: a number, a register, a type.
        case word(String)
        case symbol(String)
        case end
    }
    var kind: Kind
    /// In Characters from the start of the text.
    var column: Int
}

/// Cuts an expression into tokens.
enum Lexer {
    private static let pairs: Set<String> = ["<<", ">>", "&&", "||", "==", "!=", "<=", ">="]
    private static let singles: Set<Character> = [
        "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "<", ">", "(", ")", ":",
    ]

    static func tokens(_ text: String) throws(DebuggerError) -> [Token] {
        let characters = Array(text)
        var tokens: [Token] = []
        var place = 0
        while place < characters.count {
            let character = characters[place]
            if character.isWhitespace {
                place += 1
            } else if isWord(character) {
                let end = characters[place...].firstIndex { !isWord($0) } ?? characters.count
                tokens.append(Token(kind: .word(String(characters[place..<end])), column: place))
                place = end
            } else {
                let pair = String(characters[place..<min(place + 2, characters.count)])
                if pairs.contains(pair) {
                    tokens.append(Token(kind: .symbol(pair), column: place))
                    place += 2
                } else if singles.contains(character) {
                    tokens.append(Token(kind: .symbol(String(character)), column: place))
                    place += 1
                } else {
                    throw DebuggerError(.syntax, "'\(character)' is not part of an expression", column: place)
                }
            }
        }
        tokens.append(Token(kind: .end, column: characters.count))
        return tokens
    }

    private static func isWord(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "_.$".contains(character))
    }
}

/// Numbers as they are written.
enum NumberLiteral {
    /// `0x1f`, `0b101`, `1fh`, `017` (octal, as in GDB and C), `31`. Nil where `text` is none of these, or does
    /// not fit in 64 bits.
    static func parse(_ text: String) -> UInt64? {
        guard let first = text.first, first.isASCII, first.isNumber else { return nil }
        let lower = text.lowercased()
        if lower.hasPrefix("0x") { return digits(lower.dropFirst(2), radix: 16) }
        if lower.hasSuffix("h") { return digits(lower.dropLast(), radix: 16) }
        if lower.hasPrefix("0b") { return digits(lower.dropFirst(2), radix: 2) }
        if lower.hasPrefix("0"), lower.count > 1 { return digits(lower.dropFirst(), radix: 8) }
        return digits(lower[...], radix: 10)
    }

    /// A number in `SEG:OFF`, where all the world writes hexadecimal without saying so: `f000:fff0`, `0:7c00`.
    static func parsePartOfFarPointer(_ text: String) -> UInt64? {
        let lower = text.lowercased()
        if lower.hasPrefix("0x") { return digits(lower.dropFirst(2), radix: 16) }
        if lower.hasSuffix("h") { return digits(lower.dropLast(), radix: 16) }
        return digits(lower[...], radix: 16)
    }

    private static func digits(_ text: Substring, radix: Int) -> UInt64? {
        // UInt64's own parser takes a sign.
        guard let first = text.first, first != "+", first != "-" else { return nil }
        return UInt64(text, radix: radix)
    }
}
