import X86

/// Reads an expression by precedence climbing, and writes down what is to be done.
struct ExpressionParser {
    let bytes: [UInt8]
    let tokens: [Token]
    let scope: ExpressionScope
    var place = 0
    private var depth = 0
    /// Colons of the part at hand, up to its comma or bracket, that no `?` needs: they may stand in SEG:OFF.
    var spareColons = 0

    private(set) var program: [Operation] = []
    private(set) var places: [Int32] = []
    private var height = 0
    private(set) var maximumHeight = 0

    /// Variables that are read before anyone has set them, by their place.
    var unset: [Int: String] = [:]
    /// Variables that this expression sets.
    var assigned: Set<String> = []

    /// What the code written last leaves on the stack.
    enum Operand {
        case value
        /// A symbol's address.
        case symbol
        case register(RegisterName)
        case variable(Int)
        /// `$x` that no one has set yet: an assignment has to follow. A placeholder stands on the stack.
        case unset(String)
        /// What an address on the stack points to; the last operation loads it.
        case memory(ValueType?)
    }

    init(_ text: String, _ scope: ExpressionScope) throws(SyntaxError) {
        bytes = Array(text.utf8)
        tokens = try Lexer(bytes).tokens()
        self.scope = scope
    }

    /// - Returns: what the whole of it is.
    mutating func parse() throws(SyntaxError) -> Operand {
        if case .end = token.kind {
            throw SyntaxError("an expression is expected", at: token.range.lowerBound)
        }
        let operand = try commaList()
        guard case .end = token.kind else {
            throw SyntaxError("an operator is expected, not \(name(token))", at: token.range.lowerBound)
        }
        if let (place, name) = unset.min(by: { $0.key < $1.key }) { throw unknown(name, at: place) }
        return operand
    }

    // MARK: tokens

    var token: Token { tokens[min(place, tokens.count - 1)] }
    var isAtEnd: Bool { token.kind == .end }

    func text(_ token: Token) -> String { String(decoding: bytes[token.range], as: UTF8.self) }

    func name(_ token: Token) -> String { token.kind == .end ? "the end" : "'\(text(token).shortened)'" }

    mutating func take(_ punctuator: Punctuator) -> Bool {
        guard case .punctuator(punctuator) = token.kind else { return false }
        place += 1
        return true
    }

    mutating func expect(_ punctuator: Punctuator) throws(SyntaxError) {
        if take(punctuator) { return }
        throw SyntaxError(
            "'\(punctuator.rawValue)' is expected, not \(name(token))", at: token.range.lowerBound)
    }

    // MARK: code

    mutating func emit(_ operation: Operation, _ place: Int) {
        program.append(operation)
        places.append(Int32(truncatingIfNeeded: place))
        height += operation.growth
        maximumHeight = max(maximumHeight, height)
    }

    /// Takes back the last operation, which loaded what is to be changed.
    private mutating func unload() {
        guard let last = program.popLast() else { return }
        places.removeLast()
        height -= last.growth
    }

    /// Writes the place to go to into a jump that was written before it was known.
    private mutating func land(_ jump: Int) {
        switch program[jump] {
        case .and: program[jump] = .and(program.count)
        case .or: program[jump] = .or(program.count)
        case .jumpIfZero: program[jump] = .jumpIfZero(program.count)
        case .jump: program[jump] = .jump(program.count)
        default: break
        }
    }

    // MARK: operators

    mutating func commaList() throws(SyntaxError) -> Operand {
        let outside = spareColons
        defer { spareColons = outside }
        spareColons = countSpareColons()
        var operand = try assignment()
        while case .punctuator(.comma) = token.kind {
            emit(.drop, token.range.lowerBound)
            place += 1
            spareColons = countSpareColons()
            _ = try assignment()
            operand = .value
        }
        return operand
    }

    /// From here to the next comma or closing bracket, what is in brackets left out.
    func countSpareColons() -> Int {
        var count = 0
        var inside = 0
        for token in tokens[min(place, tokens.count)...] {
            guard case .punctuator(let sign) = token.kind else { continue }
            switch sign {
            case .open, .openBracket, .openBrace: inside += 1
            case .close, .closeBracket, .closeBrace:
                inside -= 1
                if inside < 0 { return count }
            case .comma where inside == 0: return count
            case .colon where inside == 0: count += 1
            case .question where inside == 0: count -= 1
            default: break
            }
        }
        return count
    }

    /// Bounds the recursion of `body`.
    private mutating func nested<R>(
        _ body: (inout Self) throws(SyntaxError) -> R
    ) throws(SyntaxError) -> R {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Expression.maximumDepth else {
            throw SyntaxError(
                "the expression is nested more than \(Expression.maximumDepth) deep",
                at: token.range.lowerBound)
        }
        return try body(&self)
    }

    mutating func assignment() throws(SyntaxError) -> Operand {
        try nested { (parser) throws(SyntaxError) in try parser.assignmentInside() }
    }

    private mutating func assignmentInside() throws(SyntaxError) -> Operand {
        let start = token.range.lowerBound
        let left = try conditional()
        guard case .punctuator(let sign) = token.kind, sign == .assign || sign.compound != nil else {
            return left
        }
        let signPlace = token.range.lowerBound
        try checkSettable(left, signPlace)
        place += 1
        if let operation = sign.compound {
            if case .memory(let type) = left {
                unload()
                emit(.copy, start)
                emit(.load(type), start)
            }
            _ = try assignment()
            emit(.binary(operation), signPlace)
        } else {
            unload()
            if case .unset(let name) = left {
                unset[start] = nil
                assigned.insert(name)
            }
            _ = try assignment()
        }
        switch left {
        case .register(let name): emit(.setRegister(name), start)
        case .variable(let slot): emit(.setVariable(slot), start)
        case .memory(let type): emit(.store(type), start)
        case .unset(let name): emit(.setVariable(try slot(name, at: start)), start)
        case .value, .symbol: break
        }
        return .value
    }

    private func checkSettable(_ operand: Operand, _ place: Int) throws(SyntaxError) {
        switch operand {
        case .register, .variable, .memory, .unset: return
        case .value, .symbol:
            throw SyntaxError(
                "only a register, a variable or memory can be set", at: place,
                remedy: "as in $rax = 1, $n = 1 or *(u8*)0x7c00 = 0x90; `==` compares")
        }
    }

    private mutating func conditional() throws(SyntaxError) -> Operand {
        let condition = try logical(or: true)
        guard case .punctuator(.question) = token.kind else { return condition }
        let jump = program.count
        emit(.jumpIfZero(0), token.range.lowerBound)
        place += 1
        _ = try assignment()
        let end = program.count
        emit(.jump(0), token.range.lowerBound)
        try expect(.colon)
        land(jump)
        // The other side's value takes the place of this one's.
        height -= 1
        _ = try nested { (parser) throws(SyntaxError) in try parser.conditional() }
        land(end)
        return .value
    }

    /// `||` of `&&`: their right sides are left out when the left one decides.
    private mutating func logical(or isOr: Bool) throws(SyntaxError) -> Operand {
        var left = try isOr ? logical(or: false) : binary(above: 2)
        while case .punctuator(let sign) = token.kind, sign == (isOr ? .or : .and) {
            let jump = program.count
            emit(isOr ? .or(0) : .and(0), token.range.lowerBound)
            place += 1
            _ = try isOr ? logical(or: false) : binary(above: 2)
            emit(.truth, token.range.lowerBound)
            land(jump)
            left = .value
        }
        return left
    }

    private mutating func binary(above limit: Int) throws(SyntaxError) -> Operand {
        var left = try unary()
        while case .punctuator(let sign) = token.kind, let (precedence, operation) = sign.binary,
            precedence > limit
        {
            let column = token.range.lowerBound
            place += 1
            _ = try binary(above: precedence)
            emit(.binary(operation), column)
            left = .value
        }
        return left
    }

    mutating func unary() throws(SyntaxError) -> Operand {
        try nested { (parser) throws(SyntaxError) in try parser.unaryInside() }
    }

    private mutating func unaryInside() throws(SyntaxError) -> Operand {
        let start = token
        let column = start.range.lowerBound
        if start.kind == .string {
            throw SyntaxError(
                "text in double quotes stands only in $_streq, $_regex and $_strlen", at: column)
        }
        guard case .punctuator(let sign) = start.kind else { return try postfix(of: try word()) }
        place += 1
        switch sign {
        case .plus: return try prefix(.unary(.plus), column)
        case .minus: return try prefix(.unary(.minus), column)
        case .tilde: return try prefix(.unary(.complement), column)
        case .not: return try prefix(.unary(.not), column)
        case .star:
            _ = try prefix(.load(nil), column)
            return .memory(nil)
        case .ampersand: return try addressOf(column)
        case .increment, .decrement:
            try step(try unary(), sign, column)
            // The value before is on the stack; the new one is wanted.
            emit(.push(Value(number: 1)), column)
            emit(.binary(sign == .increment ? .add : .subtract), column)
            return .value
        case .openBrace:
            guard let type = takeType() else {
                throw SyntaxError("a type is expected, not \(name(token))", at: token.range.lowerBound)
            }
            try expect(.closeBrace)
            _ = try prefix(.load(type), column)
            return .memory(type)
        case .open:
            guard let type = takeType() else {
                let inside = try commaList()
                try expect(.close)
                return try postfix(of: inside)
            }
            try expect(.close)
            return try prefix(.cast(type), column)
        default:
            throw SyntaxError("a number, a name or '(' is expected, not \(name(start))", at: column)
        }
    }

    mutating func prefix(_ operation: Operation, _ column: Int) throws(SyntaxError) -> Operand {
        _ = try unary()
        emit(operation, column)
        return .value
    }

    private mutating func addressOf(_ column: Int) throws(SyntaxError) -> Operand {
        if token.kind == .word, let address = scope.symbol(text(token)) {
            // `&ip`: a symbol, whatever register has its name.
            place += 1
            emit(.push(Value(bits: address)), column)
            return .symbol
        }
        switch try unary() {
        case .symbol: return .symbol
        case .memory(let type):
            unload()
            emit(.point(type), column)
            return .value
        case .value, .register, .variable, .unset:
            throw SyntaxError(
                "only a symbol or memory has an address", at: column,
                remedy: "`&` stands before a symbol or *(TYPE*)ADDR")
        }
    }

    private mutating func postfix(of operand: Operand) throws(SyntaxError) -> Operand {
        var operand = operand
        while case .punctuator(let sign) = token.kind {
            let here = token.range.lowerBound
            switch sign {
            case .openBracket:
                place += 1
                _ = try commaList()
                try expect(.closeBracket)
                emit(.index, here)
                emit(.load(nil), here)
                operand = .memory(nil)
            case .increment, .decrement:
                place += 1
                try step(operand, sign, here)
                operand = .value
            default: return operand
            }
        }
        return operand
    }

    private mutating func step(
        _ operand: Operand, _ sign: Punctuator, _ column: Int
    ) throws(SyntaxError) {
        let delta: Int64 = sign == .increment ? 1 : -1
        switch operand {
        case .register(let name):
            unload()
            emit(.stepRegister(name, delta: delta), column)
        case .variable(let slot):
            unload()
            emit(.stepVariable(slot, delta: delta), column)
        case .memory(let type):
            unload()
            emit(.stepMemory(type, delta: delta), column)
        case .value, .symbol, .unset:
            throw SyntaxError(
                "only a register, a variable or memory can be stepped with '\(sign.rawValue)'", at: column)
        }
    }
}
