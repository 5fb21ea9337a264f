/// A value that is typed over another one, in its place: hexadecimal digits, or an expression. Nothing is set before Enter.
struct Edit: Sendable, Hashable {
    var pane: Pane
    var kind: Field.Kind
    /// What was typed. The value that is there stays until the first key, which clears it.
    var text = ""
    /// What ``text`` is now, where it is an expression that was asked for.
    var answer: Answer?

    enum Answer: Sendable, Hashable {
        case value(UInt64)
        case error(String)
    }

    /// What ``text`` stands for.
    enum Meaning: Sendable, Hashable {
        /// Nothing was typed.
        case unchanged
        case value(UInt64)
        /// It is an expression, which the guest has to be asked for.
        case unknown
        case error(String)
    }

    /// The digits that the field has.
    var digits: Int {
        switch kind {
        case .register(_, let digits, _): digits
        case .byte: 2
        case .flag, .slot: 0
        }
    }

    /// The number where all of ``text`` is hexadecimal digits, as the fields show them, with or without `0x`; nil where it
    /// is something else or has too many.
    private var number: UInt64? {
        let plain = text.hasPrefix("0x") ? text.dropFirst(2) : text[...]
        guard !plain.isEmpty, plain.unicodeScalars.allSatisfy({ $0.isASCII && Character($0).isHexDigit })
        else {
            return nil
        }
        return UInt64(plain, radix: 16)
    }

    /// ``text`` is to be asked for.
    var isExpression: Bool {
        let plain = text.hasPrefix("0x") ? text.dropFirst(2) : text[...]
        return !plain.unicodeScalars.allSatisfy { $0.isASCII && Character($0).isHexDigit }
    }

    var meaning: Meaning {
        if text.isEmpty || text == "0x" { return .unchanged }
        var value = number
        if isExpression {
            switch answer {
            case .value(let known): value = known
            case .error(let message): return .error(message)
            case nil: return .unknown
            }
        }
        guard let value, digits == 16 || value >> UInt64(digits * 4) == 0 else {
            return .error("it has more than \(digits) digits")
        }
        return .value(value)
    }

    /// As the field shows it: digits come in from the right.
    var shown: String {
        switch meaning {
        case .value(let value): return Self.text(value, digits)
        case .unknown, .error: return String(repeating: "?", count: digits)
        case .unchanged:
            switch kind {
            case .register(_, _, let value): return Self.text(value, digits)
            case .byte(_, let value): return value.map { Self.text(UInt64($0), 2) } ?? "??"
            case .flag, .slot: return ""
            }
        }
    }

    /// The digits of a value, with zeros before it.
    static func text(_ value: UInt64, _ count: Int) -> String {
        let digits = String(value, radix: 16)
        return digits.count < count
            ? String(repeating: "0", count: count - digits.count) + digits : String(digits.suffix(count))
    }
}
