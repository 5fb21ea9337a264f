import X86

/// Registers that came with an exit, and memory: what a breakpoint's condition can see without a call.
struct SnapshotContext: EvaluationContext {
    let registers: GeneralRegisters
    let special: SpecialRegisters
    let debug: DebugRegisters?
    let memory: any PhysicalMemory

    var pointerWidth: Int { Self.pointerWidth(special) }

    /// Of pointers in memory, by the mode.
    static func pointerWidth(_ special: SpecialRegisters) -> Int {
        special.efer.contains(.lma) && special.cs.attributes.isLong ? 64 : 32
    }

    func register(_ name: RegisterName) throws(DebuggerError) -> UInt64 {
        if name.group == .debug, debug == nil {
            throw DebuggerError(.refused, "\(name) is not at hand where this is evaluated")
        }
        return name.value(registers, special, debug ?? DebugRegisters())
    }

    func floating(_ register: FloatingRegister) throws(DebuggerError) -> Value {
        throw DebuggerError(.refused, "\(register.rawValue) is not at hand where this is evaluated")
    }

    func load(_ address: Address, width: Int) throws(DebuggerError) -> UInt64 {
        let view = LinearMemory(memory: memory, special: special)
        if case .physical(let gpa) = address {
            if let value = memory.word(gpa, size: width) { return value }
        } else {
            let linear = try view.linear(address, registers)
            if let value = view.word(linear, size: width) { return value }
        }
        throw DebuggerError(.unreadable, "\(width) bytes at \(address) cannot be read")
    }

    func setRegister(_ name: RegisterName, to value: UInt64) throws(DebuggerError) { throw refusal }

    func store(_ value: UInt64, to address: Address, width: Int) throws(DebuggerError) { throw refusal }

    private var refusal: DebuggerError {
        DebuggerError(
            .refused, "what is evaluated while the guest runs cannot change it",
            remedy: "a variable can be set: $n = 1")
    }
}
