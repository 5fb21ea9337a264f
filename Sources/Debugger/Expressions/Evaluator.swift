import X86

/// What an expression can ask for.
protocol EvaluationContext {
    /// The value of a register, extended with zeros.
    func register(_ name: RegisterName) throws(DebuggerError) -> UInt64
    /// A little-endian value of `width` bytes in guest memory.
    func load(_ address: Address, width: Int) throws(DebuggerError) -> UInt64
}

/// Reads and evaluates an expression in one go, by precedence climbing.
///
/// Nothing is built that could be deep: recursion is bounded by ``maximumDepth``, so that no input overflows
/// the stack. All arithmetic is of 64 bits and wraps. As in C, a number is signed, a register is not, and where
/// the two meet the result is not.
struct Evaluator<Context: EvaluationContext> {
    static var maximumDepth: Int { 100 }

    let context: Context
    private let tokens: [Token]
    private var place = 0
    private var depth = 0
    /// Inside the part of `&&` or `||` that does not count: nothing is read, and nothing is divided.
    private var isSkipping = false

    /// A value on its way through the expression.
    private struct Operand {
        var value: Value
        /// What `*` reads through it.
        var pointee: ValueType?

        init(_ value: Value, pointee: ValueType? = nil) {
            self.value = value
            self.pointee = pointee
        }
    }

    init(_ text: String, _ context: Context) throws(DebuggerError) {
        tokens = try Lexer.tokens(text)
        self.context = context
    }

    mutating func evaluate() throws(DebuggerError) -> Value {
        if case .end = token.kind {
            throw DebuggerError(.syntax, "an expression is expected", column: token.column)
        }
        let operand = try binary(above: 0)
        guard case .end = token.kind else {
            throw DebuggerError(
                .syntax, "an operator is expected, not \(Self.name(token))", column: token.column)
        }
        return operand.value
    }

    // MARK: operators

    /// C's, the loosest first.
    private static func precedence(_ token: Token) -> Int? {
        guard case .symbol(let symbol) = token.kind else { return nil }
        return switch symbol {
        case "||": 1
        case "&&": 2
        case "|": 3
        case "^": 4
        case "&": 5
        case "==", "!=": 6
        case "<", "<=", ">", ">=": 7
        case "<<", ">>": 8
        case "+", "-": 9
        case "*", "/", "%": 10
        default: nil
        }
    }

    private mutating func binary(above limit: Int) throws(DebuggerError) -> Operand {
        var left = try unary()
        while let precedence = Self.precedence(token), precedence > limit,
            case .symbol(let symbol) = token.kind
        {
            let column = token.column
            place += 1
            let isDecided = symbol == "&&" && left.value.isZero || symbol == "||" && !left.value.isZero
            let wasSkipping = isSkipping
            isSkipping = isSkipping || isDecided
            let right = try binary(above: precedence)
            isSkipping = wasSkipping
            left = try apply(symbol, left, right, column)
        }
        return left
    }

    private func apply(
        _ symbol: String, _ left: Operand, _ right: Operand, _ column: Int
    ) throws(DebuggerError) -> Operand {
        let (a, b) = (left.value, right.value)
        let isSigned = a.isSigned && b.isSigned
        func truth(_ condition: Bool) -> Operand {
            Operand(Value(bits: condition ? 1 : 0, isSigned: true))
        }
        func number(_ bits: UInt64) -> Operand { Operand(Value(bits: bits, isSigned: isSigned)) }
        switch symbol {
        case "||": return truth(!a.isZero || !b.isZero)
        case "&&": return truth(!a.isZero && !b.isZero)
        case "==": return truth(a.bits == b.bits)
        case "!=": return truth(a.bits != b.bits)
        case "<": return truth(isSigned ? a.signed < b.signed : a.bits < b.bits)
        case "<=": return truth(isSigned ? a.signed <= b.signed : a.bits <= b.bits)
        case ">": return truth(isSigned ? a.signed > b.signed : a.bits > b.bits)
        case ">=": return truth(isSigned ? a.signed >= b.signed : a.bits >= b.bits)
        case "|": return number(a.bits | b.bits)
        case "^": return number(a.bits ^ b.bits)
        case "&": return number(a.bits & b.bits)
        case "*": return number(a.bits &* b.bits)
        case "+": return moved(left, by: b.bits, or: right, by: a.bits, isSigned)
        case "-": return moved(left, by: 0 &- b.bits, or: nil, by: 0, isSigned)
        case "<<": return Operand(Value(bits: b.bits > 63 ? 0 : a.bits << b.bits, isSigned: a.isSigned))
        case ">>":
            let count = min(b.bits, 63)
            if a.isSigned {
                return Operand(Value(bits: UInt64(bitPattern: a.signed >> Int64(count)), isSigned: true))
            }
            return Operand(Value(bits: b.bits > 63 ? 0 : a.bits >> count))
        default: return number(try divide(a, b, isRemainder: symbol == "%", column))
        }
    }

    /// Sums: an address stays an address of its form.
    private func moved(
        _ left: Operand, by distance: UInt64, or right: Operand?, by other: UInt64, _ isSigned: Bool
    ) -> Operand {
        var (base, distance) = (left, distance)
        if left.value.address == nil, left.pointee == nil, let right, right.value.address != nil {
            (base, distance) = (right, other)
        }
        let address = base.value.address?.advanced(by: Int(truncatingIfNeeded: distance))
        return Operand(
            Value(bits: base.value.bits &+ distance, isSigned: isSigned, address: address),
            pointee: base.pointee)
    }

    private func divide(
        _ a: Value, _ b: Value, isRemainder: Bool, _ column: Int
    ) throws(DebuggerError) -> UInt64 {
        guard !b.isZero else {
            if isSkipping { return 0 }
            throw DebuggerError(.outOfRange, "division by zero", column: column)
        }
        guard a.isSigned, b.isSigned else { return isRemainder ? a.bits % b.bits : a.bits / b.bits }
        // The least number divided by -1 does not fit: it wraps, as all else does.
        let result =
            isRemainder
            ? a.signed.remainderReportingOverflow(dividingBy: b.signed)
            : a.signed.dividedReportingOverflow(by: b.signed)
        return UInt64(bitPattern: Int64(result.partialValue))
    }

    private mutating func unary() throws(DebuggerError) -> Operand {
        depth += 1
        defer { depth -= 1 }
        let start = token
        guard depth <= Self.maximumDepth else {
            throw DebuggerError(
                .syntax, "the expression is nested more than \(Self.maximumDepth) deep", column: start.column)
        }
        guard case .symbol(let symbol) = start.kind else { return try word() }
        place += 1
        switch symbol {
        case "+": return Operand(try unary().value)
        case "-":
            let value = try unary().value
            return Operand(Value(bits: 0 &- value.bits, isSigned: value.isSigned))
        case "~":
            let value = try unary().value
            return Operand(Value(bits: ~value.bits, isSigned: value.isSigned))
        case "!": return Operand(Value(bits: try unary().value.isZero ? 1 : 0, isSigned: true))
        case "*": return try load(through: try unary(), start.column)
        case "(": return try parenthesis()
        default:
            throw DebuggerError(
                .syntax, "a number, a register or '(' is expected, not \(Self.name(start))",
                column: start.column)
        }
    }

    private func load(through operand: Operand, _ column: Int) throws(DebuggerError) -> Operand {
        let type = operand.pointee ?? ValueType.unadorned
        if isSkipping { return Operand(Value(bits: 0)) }
        let address = operand.value.address ?? .linear(operand.value.bits)
        do throws(DebuggerError) {
            let bits = try context.load(address, width: type.width / 8)
            return Operand(Value(bits: bits, width: type.width, isSigned: type.isSigned))
        } catch {
            throw error.at(column)
        }
    }

    /// Behind a `(`: a cast or a part in parentheses.
    private mutating func parenthesis() throws(DebuggerError) -> Operand {
        if let type = takeType() {
            let isPointer = takeSymbol("*")
            try expect(")")
            var operand = try unary()
            if isPointer {
                operand.pointee = type
            } else {
                operand = Operand(
                    Value(bits: operand.value.bits, width: type.width, isSigned: type.isSigned))
            }
            return operand
        }
        let inner = try binary(above: 0)
        try expect(")")
        return inner
    }

    private mutating func takeType() -> ValueType? {
        guard case .word(let first) = token.kind, let type = ValueType(first) else {
            guard case .word("unsigned") = token.kind else { return nil }
            place += 1
            guard case .word(let name) = token.kind, let type = ValueType(name) else {
                return ValueType(width: 32, isSigned: false)
            }
            place += 1
            return ValueType(width: type.width, isSigned: false)
        }
        place += 1
        return type
    }

    // MARK: words

    /// A number, a register, `SEG:OFF`, or `p:` or `v:` before an address.
    private mutating func word() throws(DebuggerError) -> Operand {
        let start = token
        guard case .word(let text) = start.kind else {
            throw DebuggerError(
                .syntax, "a number, a register or '(' is expected, not \(Self.name(start))",
                column: start.column)
        }
        place += 1
        guard takeSymbol(":") else { return Operand(try value(of: text, start.column)) }
        switch text.lowercased() {
        case "p":
            let bits = try unary().value.bits
            return Operand(Value(bits: bits, address: .physical(bits)))
        case "v":
            let bits = try unary().value.bits
            return Operand(Value(bits: bits, address: .virtual(bits)))
        default:
            let segment = try segment(text, start.column)
            let offset = try offset()
            return Operand(Value(bits: offset, address: .segmented(segment, offset: offset)))
        }
    }

    private func value(of text: String, _ column: Int) throws(DebuggerError) -> Value {
        if let number = NumberLiteral.parse(text) {
            return Value(bits: number, isSigned: number <= UInt64(Int64.max))
        }
        if text.first?.isNumber ?? false {
            throw DebuggerError(.syntax, Self.complaint(of: text), column: column)
        }
        return try register(text, column)
    }

    private func register(_ text: String, _ column: Int) throws(DebuggerError) -> Value {
        let name: RegisterName
        do {
            name = try RegisterName(parsing: text)
        } catch {
            let near = error.suggestions
            throw DebuggerError(
                .unknownName, "there is no register '\(text)'", column: column,
                remedy: near.isEmpty ? nil : "did you mean \(near.joined(separator: ", "))?")
        }
        if isSkipping { return Value(bits: 0) }
        do throws(DebuggerError) {
            return Value(bits: try context.register(name), width: Value.width(holding: name.width))
        } catch {
            throw error.at(column)
        }
    }

    private func segment(_ text: String, _ column: Int) throws(DebuggerError) -> SegmentReference {
        let bare = text.hasPrefix("$") ? String(text.dropFirst()) : text
        if let name = SegmentName(rawValue: bare.lowercased()), name != .tr, name != .ldt {
            return .register(name)
        }
        let number = try partOfFarPointer(text, column)
        guard let selector = UInt16(exactly: number) else {
            throw DebuggerError(
                .outOfRange, "\(hex(number)) does not fit in a selector, which has 16 bits", column: column)
        }
        return .selector(selector)
    }

    private mutating func offset() throws(DebuggerError) -> UInt64 {
        let start = token
        if takeSymbol("(") { return try parenthesis().value.bits }
        guard case .word(let text) = start.kind else {
            throw DebuggerError(.syntax, "an offset is expected behind ':'", column: start.column)
        }
        place += 1
        return try partOfFarPointer(text, start.column)
    }

    private func partOfFarPointer(_ text: String, _ column: Int) throws(DebuggerError) -> UInt64 {
        if let number = NumberLiteral.parsePartOfFarPointer(text) { return number }
        return try register(text, column).bits
    }

    // MARK: tokens

    private var token: Token { tokens[min(place, tokens.count - 1)] }

    private mutating func takeSymbol(_ symbol: String) -> Bool {
        guard token.kind == .symbol(symbol) else { return false }
        place += 1
        return true
    }

    private mutating func expect(_ symbol: String) throws(DebuggerError) {
        if takeSymbol(symbol) { return }
        throw DebuggerError(
            .syntax, "'\(symbol)' is expected, not \(Self.name(token))", column: token.column)
    }

    private static func name(_ token: Token) -> String {
        switch token.kind {
        case .word(let text), .symbol(let text): "'\(text)'"
        case .end: "the end"
        }
    }

    private static func complaint(of number: String) -> String {
        let lower = number.lowercased()
        if lower.allSatisfy(\.isHexDigit), !lower.allSatisfy(\.isNumber) {
            return "'\(number)' is no number; hexadecimal is written 0x\(number) or \(number)h"
        }
        if lower.hasPrefix("0"), lower.allSatisfy(\.isNumber), lower.contains(where: { $0 > "7" }) {
            return "'\(number)' is no octal number, which a leading 0 makes of it"
        }
        return "'\(number)' is no number of 64 bits"
    }
}

/// The types that a cast names.
struct ValueType: Equatable {
    var width: Int
    var isSigned: Bool

    init(width: Int, isSigned: Bool) {
        self.width = width
        self.isSigned = isSigned
    }

    /// What `*ADDRESS` reads without a cast: 32 bits, as GDB's int has, but unsigned.
    static let unadorned = ValueType(width: 32, isSigned: false)

    /// `u8` to `u64`, `s8` to `s64`, `i8`..., `uint8_t`..., and C's own names.
    init?(_ name: String) {
        switch name {
        case "u8", "uint8_t", "byte": self.init(width: 8, isSigned: false)
        case "u16", "uint16_t", "word": self.init(width: 16, isSigned: false)
        case "u32", "uint32_t", "dword": self.init(width: 32, isSigned: false)
        case "u64", "uint64_t", "qword": self.init(width: 64, isSigned: false)
        case "s8", "i8", "int8_t", "char": self.init(width: 8, isSigned: true)
        case "s16", "i16", "int16_t", "short": self.init(width: 16, isSigned: true)
        case "s32", "i32", "int32_t", "int": self.init(width: 32, isSigned: true)
        case "s64", "i64", "int64_t", "long": self.init(width: 64, isSigned: true)
        default: return nil
        }
    }
}
