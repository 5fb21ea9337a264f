import X86

/// The words of an expression: numbers, registers, symbols, variables, types, and what stands before a colon.
extension ExpressionParser {
    package mutating func word() throws(SyntaxError) -> Operand {
        let start = token
        let column = start.range.lowerBound
        switch start.kind {
        case .word: break
        case .quoted:
            place += 1
            return try quoted(start)
        case .punctuator, .string, .end:
            throw SyntaxError("a number, a name or '(' is expected, not \(name(start))", at: column)
        }
        place += 1
        let text = text(start)
        // `1?2:3`: a colon that a `?` waits for is none of an address.
        if case .punctuator(.colon) = token.kind, token.range.lowerBound == start.range.upperBound,
            spareColons > 0
        {
            spareColons -= 1
            place += 1
            return try behindColon(of: text, column)
        }
        if text == "sizeof", case .punctuator(.open) = token.kind { return try size(column) }
        if let number = NumberLiteral.parse(text) {
            emit(.push(Value(number: number)), column)
            return .value
        }
        if let first = text.utf8.first, NumberLiteral.isDigit(first) {
            throw SyntaxError(NumberLiteral.complaint(of: text.shortened), at: column)
        }
        if text.utf8.first == UInt8(ascii: "$") { return try dollar(text, column) }
        if let register = RegisterName(text) {
            emit(.register(register), column)
            return .register(register)
        }
        if scope.symbol(text) == nil, try floating(text, column) { return .value }
        return try symbol(text, column)
    }

    /// A register of the FPU, if `name` is one.
    private mutating func floating(_ name: String, _ column: Int) throws(SyntaxError) -> Bool {
        if let register = FloatingRegister(name) {
            emit(.floating(register), column)
            return true
        }
        guard WideRegister(name) != nil else { return false }
        throw SyntaxError(
            "'\(name)' is wider than a number of an expression", at: column, code: .outOfRange,
            remedy: "it can only stand alone, as $\(name)")
    }

    private mutating func symbol(_ name: String, _ column: Int) throws(SyntaxError) -> Operand {
        guard let address = scope.symbol(name) else { throw unknown(name, at: column) }
        emit(.push(Value(bits: address)), column)
        return .symbol
    }

    private mutating func quoted(_ token: Token) throws(SyntaxError) -> Operand {
        let body = String(text(token).dropFirst().dropLast())
        if let code = NumberLiteral.character(body) {
            emit(.push(Value(number: code)), token.range.lowerBound)
            return .value
        }
        return try symbol(body, token.range.lowerBound)
    }

    /// `sizeof(TYPE)`; a pointer's size is that of the mode, which is not known here.
    private mutating func size(_ column: Int) throws(SyntaxError) -> Operand {
        place += 1
        let start = token
        guard let type = takeType(), type.pointers == 0 else {
            throw SyntaxError("an integer type is expected", at: start.range.lowerBound)
        }
        try expect(.close)
        emit(.push(Value(number: UInt64(type.width / 8))), column)
        return .value
    }

    // MARK: names with a dollar

    private mutating func dollar(_ text: String, _ column: Int) throws(SyntaxError) -> Operand {
        let name = String(text.dropFirst())
        if name.hasPrefix("_"), case .punctuator(.open) = token.kind { return try call(name, column) }
        if name.utf8.allSatisfy({ NumberLiteral.isDigit($0) || $0 == UInt8(ascii: "$") }) {
            emit(.push(try printed(name, column)), column)
            return .value
        }
        if let register = RegisterName(name) {
            emit(.register(register), column)
            return .register(register)
        }
        if try floating(name, column) { return .value }
        let slot = assigned.contains(name) ? scope.variables.makeSlot(name) : scope.variables.slot(of: name)
        if let slot {
            emit(.variable(slot), column)
            return .variable(slot)
        }
        emit(.push(Value(bits: 0)), column)
        unset[column] = name
        return .unset(name)
    }

    /// `$` is the last value, `$$` the one before it, `$3` the third, `$$3` the third before the last.
    private func printed(_ name: String, _ column: Int) throws(SyntaxError) -> Value {
        let count = scope.variables.historyCount
        let number: Int?
        if name.isEmpty {
            number = count
        } else if name == "$" {
            number = count - 1
        } else if name.hasPrefix("$") {
            number = Int(name.dropFirst()).map { count - $0 }
        } else {
            number = Int(name)
        }
        if let number, let value = scope.variables.history(number) { return value }
        throw SyntaxError(
            count == 0
                ? "no value was printed yet"
                : "there is no value '$\(name.shortened)': \(count) were printed",
            at: column, code: .unknownName)
    }

    package func slot(_ name: String, at column: Int) throws(SyntaxError) -> Int {
        if let slot = scope.variables.makeSlot(name) { return slot }
        throw SyntaxError("there are \(Variables.maximum) variables already", at: column, code: .limit)
    }

    package func unknown(_ name: String, at column: Int) -> SyntaxError {
        let near = RegisterName.suggestions(for: name) + scope.symbolsNear(name)
        // A name that was typed with a dollar was none of a symbol.
        let isVariable = unset[column] != nil
        return SyntaxError(
            isVariable
                ? "there is no register or variable '$\(name.shortened)'"
                : "there is no register or symbol '\(name.shortened)'",
            at: column, code: .unknownName,
            remedy: near.isEmpty
                ? nil
                : "did you mean \(near.prefix(4).map { isVariable ? "$" + $0 : $0 }.joined(separator: ", "))?"
        )
    }

    // MARK: colons

    /// `p:ADDRESS`, `b:ADDRESS`, `SEG:OFF`.
    private mutating func behindColon(of text: String, _ column: Int) throws(SyntaxError) -> Operand {
        let widths = ["b": 8, "w": 16, "d": 32, "q": 64]
        switch text.lowercased() {
        case "p": return try prefix(.physical, column)
        case "v": return try prefix(.virtual, column)
        case let letter where widths[letter] != nil:
            let type = ValueType(width: widths[letter] ?? 8, isSigned: false)
            _ = try prefix(.load(type), column)
            return .memory(type)
        default:
            let bare = text.utf8.first == UInt8(ascii: "$") ? String(text.dropFirst()) : text
            if let name = SegmentName(rawValue: bare.lowercased()), name != .tr, name != .ldt {
                try offset()
                emit(.segmented(name), column)
                return .value
            }
            try partOfFarPointer(text, column, isSelector: true)
            try offset()
            emit(.far, column)
            return .value
        }
    }

    private mutating func offset() throws(SyntaxError) {
        let start = token
        switch start.kind {
        case .punctuator(let open) where open == .open || open == .openBracket:
            place += 1
            _ = try commaList()
            try expect(open == .open ? .close : .closeBracket)
        case .word:
            place += 1
            try partOfFarPointer(text(start), start.range.lowerBound, isSelector: false)
        default:
            throw SyntaxError("an offset is expected after ':'", at: start.range.lowerBound)
        }
    }

    private mutating func partOfFarPointer(
        _ text: String, _ column: Int, isSelector: Bool
    ) throws(SyntaxError) {
        if let number = NumberLiteral.parsePartOfFarPointer(text) {
            guard !isSelector || number <= UInt64(UInt16.max) else {
                throw SyntaxError(
                    "\(hex(number)) does not fit in a selector, which has 16 bits", at: column,
                    code: .outOfRange)
            }
            return emit(.push(Value(number: number)), column)
        }
        let bare = text.utf8.first == UInt8(ascii: "$") ? String(text.dropFirst()) : text
        if let register = RegisterName(bare) { return emit(.register(register), column) }
        if bare == text {
            _ = try symbol(text, column)
        } else {
            _ = try dollar(text, column)
        }
    }

    // MARK: types

    /// A type with its `*`, if one stands here; otherwise nothing is taken.
    mutating func takeType() -> ValueType? {
        let start = place
        var words: [String] = []
        while token.kind == .word, words.count < 5 {
            let word = text(token)
            guard words.isEmpty || ValueType.parts.contains(word) || ValueType.parts.contains(words[0]) else {
                break
            }
            words.append(word)
            place += 1
        }
        guard var type = ValueType(words: words) else {
            place = start
            return nil
        }
        while take(.star) {
            type.pointers += 1
            if type.pointers > 8 { break }
        }
        return type
    }
}
