/// The part after the slash of `x/NFU` and `print/F`, after GDB: a count, a format letter and a unit letter,
/// the letters in any order.
struct DisplayFormat: Sendable, Hashable {
    enum Letter: Character, Sendable, Hashable, CaseIterable {
        case hex = "x"
        case signed = "d"
        case unsigned = "u"
        case octal = "o"
        case binary = "t"
        case character = "c"
        case address = "a"
        case string = "s"
        case instruction = "i"
    }

    /// Bytes of a unit.
    enum Unit: Int, Sendable, Hashable {
        case byte = 1
        case half = 2
        case word = 4
        case giant = 8

        init?(_ letter: Character) {
            switch letter {
            case "b": self = .byte
            case "h": self = .half
            case "w": self = .word
            case "g": self = .giant
            default: return nil
            }
        }
    }

    var count: Int?
    var letter: Letter?
    var unit: Unit?

    /// More than this is a slip: it would fill a terminal's memory, not its screen.
    static let largestCount = 1_048_576

    init(count: Int? = nil, letter: Letter? = nil, unit: Unit? = nil) {
        self.count = count
        self.letter = letter
        self.unit = unit
    }

    init(_ argument: Argument?, in call: Invocation) throws(CommandError) {
        guard let argument else { return }
        var digits = ""
        for (offset, character) in argument.text.enumerated() {
            if character.isASCII, character.isNumber, letter == nil, unit == nil {
                digits.append(character)
            } else if let found = Letter(rawValue: character), letter == nil {
                letter = found
            } else if let found = Unit(character), unit == nil {
                unit = found
            } else {
                throw call.error(
                    "`\(character)` has no place in a format", at: argument, offset: offset,
                    remedy: "a count, one of x d u o t c a s i, and one of b h w g (1, 2, 4, 8 bytes)")
            }
        }
        guard !digits.isEmpty else { return }
        guard let count = Int(digits), count > 0, count <= Self.largestCount else {
            throw call.error(
                "a count is from 1 to \(grouped(Self.largestCount))", at: argument)
        }
        self.count = count
    }
}

extension DisplayFormat.Letter {
    /// The value of `bytes` bytes as this format shows it. Numbers are zero-padded to the width where GDB
    /// pads them (`x`, `t`, `a`).
    func text(_ value: UInt64, bytes: Int) -> String {
        let bits = UInt64(max(1, min(8, bytes)) * 8)
        let cut = bits == 64 ? value : value & ((1 << bits) - 1)
        let signed = Int64(bitPattern: cut << (64 - bits)) >> Int64(64 - bits)
        switch self {
        case .hex, .address, .instruction, .string: return Hex.padded(cut, width: bytes * 2)
        case .signed: return String(signed)
        case .unsigned: return String(cut)
        case .octal: return cut == 0 ? "0" : "0" + String(cut, radix: 8)
        case .binary:
            let digits = String(cut, radix: 2)
            return String(repeating: "0", count: Int(bits) - digits.count) + digits
        case .character: return "\(signed) \(Self.quoted(UInt8(truncatingIfNeeded: cut)))"
        }
    }

    /// A byte as a C character constant.
    static func quoted(_ byte: UInt8) -> String {
        switch byte {
        case 0x27: return #"'\''"#
        case 0x5C: return #"'\\'"#
        case 0x0A: return #"'\n'"#
        case 0x0D: return #"'\r'"#
        case 0x09: return #"'\t'"#
        case 0x20..<0x7F: return "'\(Character(Unicode.Scalar(byte)))'"
        default:
            let octal = String(byte, radix: 8)
            return "'\\" + String(repeating: "0", count: 3 - octal.count) + octal + "'"
        }
    }
}
