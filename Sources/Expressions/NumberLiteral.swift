/// Numbers as they are written.
package enum NumberLiteral {
    /// `0x1f`, `0b101`, `1fh`, `017` (octal, as in GDB and C), `31`, with C's suffixes `u`, `l` and `ul`. Nil
    /// where `text` is none of these, or does not fit in 64 bits.
    package static func parse(_ text: String) -> UInt64? {
        guard let first = text.utf8.first, isDigit(first) else { return nil }
        let lower = text.lowercased()
        if let number = plain(lower) { return number }
        let bare = lower.reversed().drop { $0 == "u" || $0 == "l" }
        guard lower.count - bare.count <= 3, !bare.isEmpty else { return nil }
        return plain(String(bare.reversed()))
    }

    private static func plain(_ lower: String) -> UInt64? {
        if lower.hasPrefix("0x") { return digits(lower.dropFirst(2), radix: 16) }
        if lower.hasSuffix("h") { return digits(lower.dropLast(), radix: 16) }
        if lower.hasPrefix("0b") { return digits(lower.dropFirst(2), radix: 2) }
        if lower.hasPrefix("0"), lower.utf8.count > 1 { return digits(lower.dropFirst(), radix: 8) }
        return digits(lower[...], radix: 10)
    }

    /// A number in `SEG:OFF`, where all the world writes hexadecimal without saying so: `f000:fff0`, `0:7c00`.
    static func parsePartOfFarPointer(_ text: String) -> UInt64? {
        let lower = text.lowercased()
        if lower.hasPrefix("0x") { return digits(lower.dropFirst(2), radix: 16) }
        if lower.hasSuffix("h") { return digits(lower.dropLast(), radix: 16) }
        return digits(lower[...], radix: 16)
    }

    /// A number that can only be hexadecimal: `7c00`, `fee00000`. Digits and letters from a to f, of each one at
    /// least, that are no number otherwise; nil for `100` and `0b1`, which are, and for `dead`, which is a name.
    package static func bareHexadecimal(_ text: String) -> UInt64? {
        guard text.utf8.contains(where: isDigit), text.contains(where: { $0.isHexDigit && $0.isLetter }),
            text.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }), parse(text) == nil
        else { return nil }
        return digits(text[...], radix: 16)
    }

    /// Why `text`, which begins as a number, is none.
    static func complaint(of text: String) -> String {
        let lower = text.lowercased()
        if lower.allSatisfy(\.isHexDigit), !lower.allSatisfy(\.isNumber) {
            return "'\(text)' is no number; hexadecimal is written 0x\(text) or \(text)h"
        }
        if lower.hasPrefix("0"), lower.allSatisfy(\.isNumber), lower.contains(where: { $0 > "7" }) {
            return "'\(text)' is no octal number, which a leading 0 makes of it"
        }
        return "'\(text)' is no number of 64 bits"
    }

    /// The code of one character between quotes, with C's escapes; nil where `body` is not one character.
    package static func character(_ body: String) -> UInt64? {
        if body.utf8.first != UInt8(ascii: "\\") {
            return body.unicodeScalars.count == 1 ? body.unicodeScalars.first.map { UInt64($0.value) } : nil
        }
        let rest = body.dropFirst()
        switch rest {
        case "n": return 10
        case "r": return 13
        case "t": return 9
        case "0": return 0
        case "\\", "'", "\"": return rest.unicodeScalars.first.map { UInt64($0.value) }
        default:
            guard rest.hasPrefix("x"), rest.utf8.count <= 3 else { return nil }
            return digits(rest.dropFirst(), radix: 16)
        }
    }

    package static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func digits(_ text: Substring, radix: Int) -> UInt64? {
        // UInt64's own parser takes a sign.
        guard let first = text.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-") else {
            return nil
        }
        return UInt64(text, radix: radix)
    }
}
