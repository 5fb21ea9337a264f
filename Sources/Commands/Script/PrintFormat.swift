import Debugger
import Expressions
import X86

/// A format of `printf`, taken apart: GDB's, which are C's for integers and strings.
struct PrintFormat {
    struct Conversion {
        var flags: Set<Character> = []
        var width = 0
        var precision: Int?
        /// Bits that the value is cut to; nil leaves it whole.
        var bits: Int?
        /// One of `d i u o x X c s p`.
        var letter: Character = "d"
        /// Where it stands in the line, in Characters.
        var column = 0
    }
    enum Piece {
        case text([UInt8])
        case conversion(Conversion)
    }

    private(set) var pieces: [Piece] = []

    /// A width, or a precision, is no greater.
    static let widest = 4096

    var conversions: Int { pieces.count { if case .conversion = $0 { true } else { false } } }

    /// - Parameter format: the text between the quotes, with its escapes.
    init(_ format: Argument, in call: Invocation) throws(CommandError) {
        var text = ""
        var textStart = 0
        let characters = Array(format.text)
        var place = 0
        func flush() throws(CommandError) {
            guard !text.isEmpty else { return }
            pieces.append(.text(try call.unescaped(text, at: format, offset: textStart)))
            text = ""
        }
        while place < characters.count {
            let character = characters[place]
            guard character == "%" else {
                if text.isEmpty { textStart = place }
                text.append(character)
                // An escaped character is none of a conversion's.
                if character == "\\", place + 1 < characters.count {
                    place += 1
                    text.append(characters[place])
                }
                place += 1
                continue
            }
            if place + 1 < characters.count, characters[place + 1] == "%" {
                if text.isEmpty { textStart = place }
                text.append("%")
                place += 2
                continue
            }
            try flush()
            pieces.append(.conversion(try Self.conversion(characters, &place, format, call)))
        }
        try flush()
    }

    /// What stands after a `%`.
    private static func conversion(
        _ characters: [Character], _ place: inout Int, _ format: Argument, _ call: Invocation
    ) throws(CommandError) -> Conversion {
        var result = Conversion()
        result.column = format.column + place
        let start = place
        place += 1
        func next() -> Character? { place < characters.count ? characters[place] : nil }
        func number() throws(CommandError) -> Int {
            var value = 0
            while let digit = next(), digit.isASCII, let number = digit.wholeNumberValue {
                value = value * 10 + number
                place += 1
                guard value <= widest else {
                    throw call.error("a width is \(widest) at most", at: format, offset: start)
                }
            }
            return value
        }
        while let flag = next(), "-+ #0".contains(flag) {
            result.flags.insert(flag)
            place += 1
        }
        result.width = try number()
        if next() == "." {
            place += 1
            result.precision = try number()
        }
        var length = ""
        while let letter = next(), "hlzjt".contains(letter) {
            length.append(letter)
            place += 1
        }
        switch length {
        case "": result.bits = nil
        case "hh": result.bits = 8
        case "h": result.bits = 16
        case "l", "ll", "z", "j", "t": result.bits = 64
        default:
            throw call.error("`\(length)` is no length of a value", at: format, offset: start)
        }
        guard let letter = next() else {
            throw call.error("the format ends within `%`", at: format, offset: start, remedy: "`%%` is a `%`")
        }
        place += 1
        guard "diuoxXcsp".contains(letter) else {
            throw call.error(
                "feEgGaA".contains(letter)
                    ? "`%\(letter)` is for floating-point numbers, and values are integers"
                    : "there is no conversion `%\(letter)`",
                at: format, offset: start, remedy: "d i u o x X c s p, and `%%` for a `%`")
        }
        result.letter = letter
        return result
    }

    /// The text, with one operand for each conversion.
    func text(_ operands: [Argument], _ session: Session, _ call: Invocation) throws(CommandError) -> [UInt8]
    {
        guard operands.count == conversions else {
            throw call.error(
                "the format has \(counted(conversions, "conversion")), and \(counted(operands.count, "value")) "
                    + "\(operands.count == 1 ? "was" : "were") given",
                at: operands.count > conversions ? operands[conversions] : nil)
        }
        var result: [UInt8] = []
        var rest = operands[...]
        for piece in pieces {
            switch piece {
            case .text(let bytes): result += bytes
            case .conversion(let conversion):
                guard let operand = rest.popFirst() else { break }
                result += try conversion.text(operand, session, call)
            }
        }
        return result
    }
}

extension PrintFormat.Conversion {
    fileprivate func text(
        _ operand: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [UInt8] {
        if letter == "s" { return padded(try string(operand, session, call)) }
        if operand.text.first == "\"" {
            throw call.error("a string is for `%s`", at: operand)
        }
        let value = try call.perform(at: operand) { () throws(DebuggerError) in
            try session.debugger.evaluate(operand.text)
        }
        return letter == "c" ? padded([UInt8(truncatingIfNeeded: value.bits)]) : number(value)
    }

    /// Text in quotes, or the bytes at an address up to their zero.
    private func string(
        _ operand: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [UInt8] {
        let most = precision ?? PrintFormat.widest
        if operand.text.count >= 2, operand.text.first == "\"", operand.text.last == "\"" {
            let inside = String(operand.text.dropFirst().dropLast())
            return Array(try call.unescaped(inside, at: operand, offset: 1).prefix(most))
        }
        let address = try session.address(operand, call)
        var bytes: [UInt8] = []
        while bytes.count < most {
            let place = address.advanced(by: bytes.count)
            let image = try call.perform(at: operand) { () throws(DebuggerError) in
                try session.debugger.readMemory(place, count: min(64, most - bytes.count))
            }
            for offset in 0..<min(64, most - bytes.count) {
                guard let byte = image.value(at: offset, width: 1) else {
                    throw call.error("the string at \(address) cannot be read to its end", at: operand)
                }
                if byte == 0 { return bytes }
                bytes.append(UInt8(truncatingIfNeeded: byte))
            }
        }
        // Without a precision a string that has no end by then is none.
        guard precision != nil else {
            throw call.error(
                "the string at \(address) has no end within \(PrintFormat.widest) bytes", at: operand,
                remedy: "`%.16s` shows 16 bytes")
        }
        return bytes
    }

    private func number(_ value: Value) -> [UInt8] {
        let shift = UInt64(64 - (bits ?? value.width))
        let cut = bits == nil ? value.cut : (value.bits << shift) >> shift
        var sign = ""
        var digits: String
        switch letter {
        case "d", "i":
            // A value that is unsigned and narrower than 64 bits is what it is, as an argument of C's printf.
            let signed =
                bits == nil ? value.signed : Int64(bitPattern: value.bits << shift) >> Int64(shift)
            digits = String(signed.magnitude)
            sign = signed < 0 ? "-" : flags.contains("+") ? "+" : flags.contains(" ") ? " " : ""
        case "o": digits = (flags.contains("#") ? "0" : "") + String(cut, radix: 8)
        case "u": digits = String(cut)
        default:
            digits = String(cut, radix: 16, uppercase: letter == "X")
            if letter == "p" || flags.contains("#") { sign = letter == "X" ? "0X" : "0x" }
        }
        if let precision { digits = String(repeating: "0", count: max(0, precision - digits.count)) + digits }
        if flags.contains("0"), precision == nil, !flags.contains("-") {
            digits = String(repeating: "0", count: max(0, width - sign.count - digits.count)) + digits
        }
        return padded(Array((sign + digits).utf8))
    }

    private func padded(_ bytes: [UInt8]) -> [UInt8] {
        let spaces = [UInt8](repeating: 0x20, count: max(0, width - bytes.count))
        return flags.contains("-") ? bytes + spaces : spaces + bytes
    }
}

extension Invocation {
    /// `"FORMAT", EXPR, EXPR`: the format without its quotes, and the others.
    func printFormat() throws(CommandError) -> (format: Argument, operands: [Argument]) {
        let characters = Array(rest.text)
        guard characters.first == "\"" else {
            throw usageError("`\(command.name)` needs a format in double quotes", at: rest)
        }
        var end = 1
        while end < characters.count, characters[end] != "\"" { end += characters[end] == "\\" ? 2 : 1 }
        guard end < characters.count else { throw error("the quote is not closed", at: rest) }
        let format = Argument(
            text: String(characters[1..<end]), column: rest.column + 1, isQuoted: true)
        var operands: [Argument] = []
        var left = Argument(text: String(characters[(end + 1)...]), column: rest.column + end + 1)
        if left.text.allSatisfy(\.isWhitespace) { return (format, []) }
        let (before, after) = left.parts(at: left.comma ?? 0)
        guard left.comma != nil, before.text.isEmpty else {
            throw error("a comma is expected after the format", at: left)
        }
        left = after
        while let comma = left.comma {
            let (one, others) = left.parts(at: comma)
            operands.append(one)
            left = others
        }
        operands.append(left)
        if let empty = operands.first(where: \.text.isEmpty) {
            throw error("an expression is expected", at: empty)
        }
        return (format, operands)
    }
}
