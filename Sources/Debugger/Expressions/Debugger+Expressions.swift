import DebugTarget
public import Expressions
public import Symbols
public import X86

extension Debugger {
    /// Reads an expression: see ``Expression`` for the language. Names are looked up now.
    ///
    /// - Throws: with the column of what was wrong.
    public func expression(_ text: String) throws(DebuggerError) -> Expression {
        let symbols = symbols
        do throws(ExpressionError) {
            guard !symbols.isEmpty else {
                return try Expression(text, in: ExpressionScope(variables: variables))
            }
            return try Expression(
                text,
                in: ExpressionScope(
                    variables: variables, symbol: { symbols.address(of: $0) },
                    symbolsNear: { symbols.names(near: $0) }))
        } catch {
            throw DebuggerError(error)
        }
    }

    /// The value of an expression for one vCPU, the selected one by default. It may set registers, memory and
    /// variables.
    ///
    /// - Throws: with the column of what was wrong.
    public func evaluate(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> Value {
        try evaluate(try expression(text), vcpu: id)
    }

    /// The value of an expression that is looked at before it is used: one that would set something is refused.
    public func preview(_ text: String) throws(DebuggerError) -> Value {
        let expression = try expression(text)
        guard !expression.setsSomething else {
            throw DebuggerError(.refused, "it sets something itself: give a value")
        }
        return try evaluate(expression)
    }

    public func evaluate(_ expression: Expression, vcpu id: Int? = nil) throws(DebuggerError) -> Value {
        let context = DebuggerContext(debugger: self, vcpu: try known(id).id)
        do throws(ExpressionError) {
            return try expression.evaluate(in: context)
        } catch {
            throw DebuggerError(error)
        }
    }

    /// Evaluates an expression to an address; one that has no form of its own is linear. `FILE:LINE` is the
    /// lowest address of the line's code. `7c00` alone, which is no expression, is hexadecimal, as addresses are
    /// everywhere else; `100` is decimal, as in every expression.
    public func address(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> Address {
        if let place = try code(ofSource: text)?.first { return .linear(place.start) }
        if let place = bareAddress(text) { return .linear(place) }
        return try evaluate(text, vcpu: id).place
    }

    /// What an expression names, for one vCPU, the selected one by default.
    public func object(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> NamedObject? {
        let expression = try expression(text)
        switch expression.object {
        case .memory:
            guard !expression.setsSomething else { return nil }
            let context = DebuggerContext(debugger: self, vcpu: try known(id).id)
            do throws(ExpressionError) {
                return try expression.memory(in: context).map { .memory($0.address, size: $0.size) }
            } catch {
                throw DebuggerError(error)
            }
        case .register(let name): return .register(name)
        case .symbol: return symbols.symbols(named: text.filter { $0 != " " }).first.map(NamedObject.symbol)
        case nil: return nil
        }
    }

    /// Digits without a `0x` that are no number and no name otherwise.
    private func bareAddress(_ text: String) -> UInt64? {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let word = words.first.map(String.init),
            let number = NumberLiteral.bareHexadecimal(word), RegisterName(word) == nil,
            symbols.address(of: word) == nil
        else { return nil }
        return number
    }

    // MARK: variables and values

    /// The user's variables that have a value, by name, without the `$`.
    public var convenienceVariables: [(name: String, value: Value)] { variables.all }

    /// Whether a variable of that name, without the `$`, has a value.
    public func hasVariable(_ name: String) -> Bool { variables.slot(of: name) != nil }

    /// The names of those variables that begin so, in no order.
    public func variableNames(startingWith prefix: String) -> [String] {
        variables.names(startingWith: prefix)
    }

    /// Keeps a value as the last one printed: `$`, and `$N` with the number that is returned. Nil where there is
    /// no room for more.
    public func remember(_ value: Value) -> Int? { variables.remember(value) }

    /// Sets a variable of the user's: `$name`.
    public func setVariable(_ name: String, to value: Value) throws(DebuggerError) {
        guard let slot = variables.makeSlot(name) else {
            throw DebuggerError(.limit, "there are \(Variables.maximum) variables already")
        }
        variables[slot] = value
    }
}

/// What an expression names, where it is more than a value: what GDB would watch.
public enum NamedObject: Sendable, Hashable {
    /// `*(u32*)ADDR` and its like; the size is in bytes.
    case memory(Address, size: Int)
    case register(RegisterName)
    case symbol(Symbol)
}

/// Registers and memory as the debugger knows them.
private struct DebuggerContext: EvaluationContext {
    let debugger: Debugger
    let vcpu: Int

    var pointerWidth: Int {
        (try? debugger.known(vcpu)).map { SnapshotContext.pointerWidth($0.special) } ?? 64
    }

    func register(_ name: RegisterName) throws(ExpressionError) -> UInt64 {
        try attempt { () throws(DebuggerError) in try debugger.registerValue(name.name, vcpu: vcpu).bits }
    }

    func base(of segment: SegmentName, at offset: UInt64) -> UInt64 {
        guard let state = try? debugger.known(vcpu) else { return 0 }
        return state.special.base(of: segment, at: offset, mode: state.mode)
    }

    func floating(_ register: FloatingRegister) throws(ExpressionError) -> Value {
        register.value(in: try attempt { () throws(DebuggerError) in try debugger.fpu(vcpu: vcpu) })
    }

    func load(_ address: Address, width: Int) throws(ExpressionError) -> UInt64 {
        let image = try attempt { () throws(DebuggerError) in
            try debugger.readMemory(address, count: width, vcpu: vcpu)
        }
        if let value = image.value(at: 0, width: width) { return value }
        let reason = image.gaps.first.map { ": \($0.reason)" } ?? ""
        throw ExpressionError(.unreadable, "\(width) bytes at \(address) cannot be read\(reason)")
    }

    func setRegister(_ name: RegisterName, to value: UInt64) throws(ExpressionError) {
        try attempt { () throws(DebuggerError) in
            try debugger.setRegister(name.name, to: value, vcpu: vcpu)
        }
    }

    func store(_ value: UInt64, to address: Address, width: Int) throws(ExpressionError) {
        let bytes = (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        try attempt { () throws(DebuggerError) in try debugger.writeMemory(address, bytes, vcpu: vcpu) }
    }

    /// The debugger's failures, as failures of the context.
    private func attempt<R>(_ body: () throws(DebuggerError) -> R) throws(ExpressionError) -> R {
        do throws(DebuggerError) {
            return try body()
        } catch {
            throw ExpressionError(error)
        }
    }
}
