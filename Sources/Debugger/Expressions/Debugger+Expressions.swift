import X86

extension Debugger {
    /// Evaluates an expression: GDB's, with C's operators and their precedence.
    ///
    /// - numbers: `31`, `0x1f`, `1fh`, `0b11111`, `037`;
    /// - registers, with or without `$`: `$rax`, `al`, `cs.base`, `cr0.pe`, flags by name;
    /// - `*ADDRESS` reads 32 bits, `*(u8*)ADDRESS` and its like read other widths; `(s16)VALUE` cuts and extends;
    /// - `SEG:OFF` with registers or numbers, which are hexadecimal there: `cs:ip`, `f000:fff0`. It is an address
    ///   of its own form, and keeps it when a number is added;
    /// - `p:ADDRESS` physical, `v:ADDRESS` virtual.
    ///
    /// - Throws: with the column of what was wrong.
    public func evaluate(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> Value {
        var evaluator = try Evaluator(text, DebuggerContext(debugger: self, vcpu: try known(id).id))
        return try evaluator.evaluate()
    }

    /// Evaluates an expression to an address; one that has no form of its own is linear.
    public func address(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> Address {
        let value = try evaluate(text, vcpu: id)
        return value.address ?? .linear(value.bits)
    }
}

/// Registers and memory as the debugger knows them.
private struct DebuggerContext: EvaluationContext {
    let debugger: Debugger
    let vcpu: Int

    func register(_ name: RegisterName) throws(DebuggerError) -> UInt64 {
        try debugger.registerValue(name.name, vcpu: vcpu).bits
    }

    func load(_ address: Address, width: Int) throws(DebuggerError) -> UInt64 {
        let image = try debugger.readMemory(address, count: width, vcpu: vcpu)
        if let value = image.value(at: 0, width: width) { return value }
        let reason = image.gaps.first.map { ": \($0.reason)" } ?? ""
        throw DebuggerError(.unreadable, "\(width) bytes at \(address) cannot be read\(reason)")
    }
}

extension DebuggerError {
    /// The same with a column, unless it has one.
    func at(_ column: Int) -> DebuggerError {
        var error = self
        error.column = error.column ?? column
        return error
    }
}
