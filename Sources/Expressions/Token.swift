/// A piece of an expression.
struct Token {
    enum Kind: Equatable {
        /// Letters, digits, `_`, `.` and `$`: a number, a register, a symbol, a type.
        case word
        /// In single quotes: a symbol whose name has other characters, or one character for its code.
        case quoted
        /// In double quotes: text, for the functions that take it.
        case string
        case punctuator(Punctuator)
        case end
    }

    var kind: Kind
    /// Where it stands, in UTF-8 bytes from the start of the text; of a quoted name with its quotes.
    var range: Range<Int>
}

/// Operators and brackets.
enum Punctuator: String, CaseIterable {
    case shiftLeftAssign = "<<="
    case shiftRightAssign = ">>="
    case shiftLeft = "<<"
    case shiftRight = ">>"
    case and = "&&"
    case or = "||"
    case equal = "=="
    case notEqual = "!="
    case lessOrEqual = "<="
    case greaterOrEqual = ">="
    case increment = "++"
    case decrement = "--"
    case addAssign = "+="
    case subtractAssign = "-="
    case multiplyAssign = "*="
    case divideAssign = "/="
    case remainderAssign = "%="
    case bitAndAssign = "&="
    case bitOrAssign = "|="
    case bitXorAssign = "^="
    case plus = "+"
    case minus = "-"
    case star = "*"
    case slash = "/"
    case percent = "%"
    case ampersand = "&"
    case bar = "|"
    case caret = "^"
    case tilde = "~"
    case not = "!"
    case less = "<"
    case greater = ">"
    case open = "("
    case close = ")"
    case openBracket = "["
    case closeBracket = "]"
    case openBrace = "{"
    case closeBrace = "}"
    case colon = ":"
    case question = "?"
    case assign = "="
    case comma = ","
}

/// Cuts an expression into tokens. Nothing here depends on the length of the text but the time it takes.
package struct Lexer {
    /// Longer than anyone types; a bound for what is kept.
    package static let maximumLength = 1 << 20

    private let bytes: [UInt8]

    /// By their first byte, which is ASCII, the longest first.
    private static let punctuators: [[(bytes: [UInt8], kind: Punctuator)]] = {
        var table = [[(bytes: [UInt8], kind: Punctuator)]](repeating: [], count: 128)
        for kind in Punctuator.allCases {
            let bytes = Array(kind.rawValue.utf8)
            table[Int(bytes[0])].append((bytes, kind))
        }
        return table.map { $0.sorted { $0.bytes.count > $1.bytes.count } }
    }()

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// All tokens, `.end` last.
    func tokens() throws(SyntaxError) -> [Token] {
        guard bytes.count <= Self.maximumLength else {
            throw SyntaxError("the expression is longer than \(Self.maximumLength) bytes", at: 0)
        }
        var tokens: [Token] = []
        var place = 0
        while place < bytes.count {
            let byte = bytes[place]
            if byte == 0x20 || (0x09...0x0D).contains(byte) {
                place += 1
            } else if Self.isWord(byte) {
                let end = bytes[place...].firstIndex { !Self.isWord($0) } ?? bytes.count
                tokens.append(Token(kind: .word, range: place..<end))
                place = end
            } else if byte == UInt8(ascii: "'") {
                let end = try endOfQuoted(place)
                tokens.append(Token(kind: .quoted, range: place..<end))
                place = end
            } else if byte == UInt8(ascii: "\"") {
                let end = try endOfQuoted(place)
                tokens.append(Token(kind: .string, range: place..<end))
                place = end
            } else if let (length, kind) = punctuator(at: place) {
                tokens.append(Token(kind: .punctuator(kind), range: place..<place + length))
                place += length
            } else {
                throw SyntaxError("\(name(at: place)) is not part of an expression", at: place)
            }
        }
        tokens.append(Token(kind: .end, range: bytes.count..<bytes.count))
        return tokens
    }

    private func punctuator(at place: Int) -> (length: Int, kind: Punctuator)? {
        guard bytes[place] < 128 else { return nil }
        for (text, kind) in Self.punctuators[Int(bytes[place])] {
            guard text.count <= bytes.count - place else { continue }
            if text.indices.allSatisfy({ bytes[place + $0] == text[$0] }) { return (text.count, kind) }
        }
        return nil
    }

    private func endOfQuoted(_ start: Int) throws(SyntaxError) -> Int {
        var place = start + 1
        while place < bytes.count {
            if bytes[place] == UInt8(ascii: "\\") {
                place += 2
                continue
            }
            if bytes[place] == bytes[start] { return place + 1 }
            place += 1
        }
        throw SyntaxError("the quote is not closed", at: start)
    }

    /// The character at `place`, as it is to be shown.
    private func name(at place: Int) -> String {
        "'\(String(decoding: bytes[place...].prefix(16), as: UTF8.self).prefix(1))'"
    }

    package static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "$"):
            true
        default: false
        }
    }
}

/// What is wrong with an expression, and where, in UTF-8 bytes.
struct SyntaxError: Error {
    var code: ExpressionError.Code
    var message: String
    var remedy: String?
    var place: Int

    init(_ message: String, at place: Int, code: ExpressionError.Code = .syntax, remedy: String? = nil) {
        self.message = message
        self.place = place
        self.code = code
        self.remedy = remedy
    }
}
