import X86

/// GDB's convenience functions of strings and memory.
package enum TextFunction: String, Sendable, Hashable, CaseIterable {
    /// `$_strlen(STRING)`: the bytes before its zero.
    case length = "_strlen"
    /// `$_streq(STRING, STRING)`: 1 where they are equal.
    case equal = "_streq"
    /// `$_regex(STRING, PATTERN)`: 1 where the string begins with what the pattern describes.
    case matches = "_regex"
    /// `$_memeq(ADDRESS, ADDRESS, COUNT)`: 1 where so many bytes are equal.
    case sameMemory = "_memeq"

    var operands: Int {
        switch self {
        case .length: 1
        case .equal, .matches: 2
        case .sameMemory: 3
        }
    }

    /// All that an expression may call, as they are typed.
    static let names = (allCases.map(\.rawValue) + ["_isvoid"]).sorted().map { "$" + $0 }
}

/// A call of one of them.
package struct TextCall: Sendable, Hashable {
    var function: TextFunction
    /// Nil where the operand is an address, on the stack; a literal has a placeholder there.
    var literals: [[UInt8]?]
    var pattern: TextPattern?
}

/// Does the calls of an expression.
struct TextEvaluation<Context: EvaluationContext> {
    let context: Context

    /// A string in memory has its zero within so many bytes.
    private static var longest: Int { 4096 }
    /// Bytes that are compared at most.
    private static var mostCompared: UInt64 { 1 << 20 }

    func value(of call: TextCall, _ operands: [Value]) throws(ExpressionError) -> Value {
        switch call.function {
        case .length: return Value(number: UInt64(try text(0, call, operands).count))
        case .equal: return Value(truth: try text(0, call, operands) == text(1, call, operands))
        case .matches:
            let text = try text(0, call, operands)
            return Value(truth: call.pattern?.matchesStart(of: text) ?? false)
        case .sameMemory: return Value(truth: try sameMemory(operands))
        }
    }

    private func text(_ index: Int, _ call: TextCall, _ operands: [Value]) throws(ExpressionError) -> [UInt8]
    {
        if let literal = call.literals[index] { return literal }
        let place = operands[index].place
        var bytes: [UInt8] = []
        while bytes.count < Self.longest {
            let byte = UInt8(
                truncatingIfNeeded: try context.load(place.advanced(by: bytes.count), width: 1))
            if byte == 0 { return bytes }
            bytes.append(byte)
        }
        throw ExpressionError(
            .outOfRange, "the string at \(place) has no end within \(Self.longest) bytes")
    }

    private func sameMemory(_ operands: [Value]) throws(ExpressionError) -> Bool {
        let (one, other, count) = (operands[0].place, operands[1].place, operands[2].bits)
        guard count <= Self.mostCompared else {
            throw ExpressionError(
                .outOfRange, "\(Self.mostCompared) bytes can be compared at most, not \(hex(count))")
        }
        var done = 0
        while done < Int(count) {
            let width = Int(count) - done >= 8 ? 8 : 1
            let left = try context.load(one.advanced(by: done), width: width)
            guard try left == context.load(other.advanced(by: done), width: width) else { return false }
            done += width
        }
        return true
    }
}

extension ExpressionParser {
    /// `$_name(...)`; the name is taken, and `(` stands here.
    mutating func call(_ name: String, _ column: Int) throws(SyntaxError) -> Operand {
        place += 1
        if name == "_isvoid" { return try isVoid(column) }
        guard let function = TextFunction(rawValue: name) else {
            throw SyntaxError(
                "there is no function '$\(name.shortened)'", at: column, code: .unknownName,
                remedy: "there are \(TextFunction.names.joined(separator: ", "))")
        }
        var call = TextCall(function: function, literals: [])
        for index in 0..<function.operands {
            if index > 0 { try expect(.comma) }
            let start = token
            call.literals.append(try operand(of: function))
            guard function == .matches, index == 1 else { continue }
            guard let pattern = call.literals[index] else {
                throw SyntaxError(
                    "the pattern has to stand in double quotes", at: start.range.lowerBound)
            }
            do throws(PatternError) {
                call.pattern = try TextPattern(pattern)
            } catch {
                throw SyntaxError(
                    "in the pattern, after \(error.place) bytes: \(error.message)", at: start.range.lowerBound
                )
            }
        }
        try expect(.close)
        emit(.call(call), column)
        return .value
    }

    /// A string, or an expression that gives an address.
    private mutating func operand(of function: TextFunction) throws(SyntaxError) -> [UInt8]? {
        let start = token
        guard start.kind == .string, function != .sameMemory else {
            let outside = spareColons
            defer { spareColons = outside }
            spareColons = countSpareColons()
            _ = try assignment()
            return nil
        }
        place += 1
        emit(.push(Value(bits: 0)), start.range.lowerBound)
        return try StringLiteral.bytes(of: bytes[start.range])
    }

    /// `$_isvoid($name)`: whether nobody has set the variable, when the expression is read.
    private mutating func isVoid(_ column: Int) throws(SyntaxError) -> Operand {
        let word = text(token)
        guard token.kind == .word, word.hasPrefix("$"), RegisterName(String(word.dropFirst())) == nil else {
            throw SyntaxError(
                "$_isvoid asks about a variable, not \(name(token))", at: token.range.lowerBound,
                remedy: "as in $_isvoid($n)")
        }
        place += 1
        try expect(.close)
        emit(.push(Value(truth: scope.variables.slot(of: String(word.dropFirst())) == nil)), column)
        return .value
    }
}

/// Text in double quotes, with C's escapes.
package enum StringLiteral {
    /// - Parameter literal: with its quotes, as the lexer found it.
    static func bytes(of literal: ArraySlice<UInt8>) throws(SyntaxError) -> [UInt8] {
        var result: [UInt8] = []
        var rest = literal.dropFirst().dropLast()
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            let place = rest.startIndex - 1
            guard let letter = rest.popFirst() else { break }
            switch Unicode.Scalar(letter) {
            case "n": result.append(10)
            case "r": result.append(13)
            case "t": result.append(9)
            case "x":
                let digits = rest.prefix(2)
                guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
                else { throw SyntaxError("\\x needs two hexadecimal digits", at: place) }
                result.append(value)
                rest = rest.dropFirst(2)
            // What a pattern or a quote needs stays as it is.
            case "\\", "\"": result.append(letter)
            default: result += [byte, letter]
            }
        }
        return result
    }
}
