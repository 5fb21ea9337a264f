public import DebugTarget
public import Expressions
public import X86

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

    func register(_ name: RegisterName) throws(ExpressionError) -> UInt64 {
        if name.group == .debug, debug == nil {
            throw ExpressionError(.refused, "\(name) is not at hand where this is evaluated")
        }
        return name.value(registers, special, debug ?? DebugRegisters())
    }

    func base(of segment: SegmentName, at offset: UInt64) -> UInt64 {
        special.base(of: segment, at: offset, mode: CPUMode(registers, special))
    }

    func floating(_ register: FloatingRegister) throws(ExpressionError) -> Value {
        throw ExpressionError(.refused, "\(register.rawValue) is not at hand where this is evaluated")
    }

    func load(_ address: Address, width: Int) throws(ExpressionError) -> UInt64 {
        let view = LinearMemory(memory: memory, special: special)
        if case .physical(let gpa) = address {
            if let value = memory.word(gpa, size: width) { return value }
        } else {
            let linear: UInt64
            do throws(DebuggerError) {
                linear = try view.linear(address, registers)
            } catch {
                throw ExpressionError(error)
            }
            if let value = view.word(linear, size: width) { return value }
        }
        throw ExpressionError(.unreadable, "\(width) bytes at \(address) cannot be read")
    }

    func setRegister(_ name: RegisterName, to value: UInt64) throws(ExpressionError) { throw refusal }

    func store(_ value: UInt64, to address: Address, width: Int) throws(ExpressionError) { throw refusal }

    private var refusal: ExpressionError {
        ExpressionError(
            .refused, "what is evaluated while the guest runs cannot change it",
            remedy: "a variable can be set: $n = 1")
    }
}

extension Expression {
    /// The value with these registers and this memory, as one vCPU sees it. Safe on the vCPU's own thread.
    ///
    /// - Throws: `.unreadable` for memory that is not there, `.outOfRange` for a division by zero, `.refused` for
    ///   an expression that changes the guest or needs the debug registers where `debug` is nil; with the column.
    public func evaluate(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, debug: DebugRegisters? = nil,
        memory: any PhysicalMemory
    ) throws(DebuggerError) -> Value {
        do throws(ExpressionError) {
            return try evaluate(
                in: SnapshotContext(registers: registers, special: special, debug: debug, memory: memory))
        } catch {
            throw DebuggerError(error)
        }
    }
}
