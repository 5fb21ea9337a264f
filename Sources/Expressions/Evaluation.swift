package import X86

/// What an expression can ask for while it is evaluated.
package protocol EvaluationContext {
    /// In bits.
    var pointerWidth: Int { get }
    /// The value of a register, extended with zeros.
    func register(_ name: RegisterName) throws(ExpressionError) -> UInt64
    func floating(_ register: FloatingRegister) throws(ExpressionError) -> Value
    /// What a segment adds to an offset in it, as its register holds it, to make a linear address of it. Of a segment
    /// of 16 bits the upper half of an offset is no part of it.
    func base(of segment: SegmentName, at offset: UInt64) -> UInt64
    /// A little-endian value of `width` bytes in guest memory.
    func load(_ address: Address, width: Int) throws(ExpressionError) -> UInt64
    func setRegister(_ name: RegisterName, to value: UInt64) throws(ExpressionError)
    func store(_ value: UInt64, to address: Address, width: Int) throws(ExpressionError)
}

/// A failure, and the operation that failed.
struct EvaluationError: Error {
    var error: ExpressionError
    var operation: Int
}

/// Does the operations of an expression, one after the other.
struct Evaluation<Context: EvaluationContext> {
    let context: Context

    /// - Parameter isWhole: false for all but the last operation, which loads: what is left is the place.
    func run(_ expression: Expression, isWhole: Bool = true) throws(EvaluationError) -> Value {
        let program = isWhole ? expression.program : Array(expression.program.dropLast())
        // Most expressions need two or three places: their stack stands in the frame.
        var result = Result<Value, EvaluationError>.success(Value(bits: 0))
        withUnsafeTemporaryAllocation(of: Value.self, capacity: max(expression.height, 1)) { memory in
            // SAFETY: Value is trivial, so memory of it may be assigned to and given up without ceremony; all
            // of it is initialised here, and it is used within this closure only.
            memory.initialize(repeating: Value(bits: 0))
            var stack = ValueStack(memory)
            do throws(EvaluationError) {
                try run(program, expression.variables, &stack)
                result = .success(stack.top)
            } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }

    private func run(
        _ program: [Operation], _ variables: Variables, _ stack: inout ValueStack
    ) throws(EvaluationError) {
        var next = 0
        while next < program.count {
            let current = next
            next += 1
            do throws(ExpressionError) {
                switch program[current] {
                case .and(let target):
                    if stack.top.isZero {
                        stack.top = Value(truth: false)
                        next = target
                    } else {
                        stack.pop()
                    }
                case .or(let target):
                    if stack.top.isZero {
                        stack.pop()
                    } else {
                        stack.top = Value(truth: true)
                        next = target
                    }
                case .jumpIfZero(let target):
                    if stack.top.isZero { next = target }
                    stack.pop()
                case .jump(let target): next = target
                case let operation: try perform(operation, variables, &stack)
                }
            } catch {
                throw EvaluationError(error: error, operation: current)
            }
        }
    }

    private func perform(
        _ operation: Operation, _ variables: Variables, _ stack: inout ValueStack
    ) throws(ExpressionError) {
        switch operation {
        case .push(let value): stack.push(value)
        case .register(let name): stack.push(try register(name))
        case .floating(let register): stack.push(try context.floating(register))
        case .variable(let slot): stack.push(try Self.set(variables[slot]))
        case .physical: stack.top = Value(bits: stack.top.bits, address: .physical(stack.top.bits))
        case .virtual: stack.top = Value(bits: stack.top.bits, address: .virtual(stack.top.bits))
        case .segmented(let name):
            let offset = stack.top.bits
            stack.top = Value(bits: offset, address: .segmented(.register(name), offset: offset))
        case .far:
            let offset = stack.pop().bits
            guard let selector = UInt16(exactly: stack.top.bits) else {
                throw ExpressionError(
                    .outOfRange, "\(hex(stack.top.bits)) does not fit in a selector, which has 16 bits")
            }
            stack.top = Value(bits: offset, address: .segmented(.selector(selector), offset: offset))
        case .load(let type): stack.top = try load(stack.top, type)
        case .cast(let type): stack.top = cast(stack.top, type)
        case .point(let type):
            // Whatever it was computed from, a pointer is as wide as an address.
            var pointer = Value(bits: stack.top.bits, address: stack.top.address)
            pointer.base = stack.top.base
            pointer.pointee = type ?? stack.top.pointee ?? .unadorned
            stack.top = pointer
        case .index:
            let distance = stack.pop()
            guard stack.top.pointee != nil else {
                throw ExpressionError(
                    .syntax, "only a pointer with a type can be indexed",
                    remedy: "as in ((u16*)0x7c00)[2]")
            }
            stack.top = Arithmetic.moved(stack.top, by: distance.bits, context.pointerWidth)
        case .unary(let operation): stack.top = Arithmetic.apply(operation, stack.top)
        case .binary(let operation):
            let right = stack.pop()
            stack.top = try apply(operation, stack.top, right)
        case .truth: stack.top = Value(truth: !stack.top.isZero)
        case .drop: stack.pop()
        case .copy: stack.push(stack.top)
        case .setRegister(let name): stack.top = try set(name, stack.top)
        case .setVariable(let slot): variables[slot] = stack.top
        case .store(let type):
            let value = stack.pop()
            stack.top = try store(value, stack.top, type)
        case .stepRegister(let name, let delta):
            let old = try register(name)
            _ = try set(name, Value(bits: old.bits &+ UInt64(bitPattern: delta), width: old.width))
            stack.push(old)
        case .stepVariable(let slot, let delta):
            stack.push(
                try Self.set(variables.step(slot, by: delta, pointerWidth: context.pointerWidth)))
        case .stepMemory(let type, let delta):
            let old = try load(stack.top, type)
            var distance = Value(number: UInt64(bitPattern: delta))
            distance.isSigned = true
            _ = try store(try apply(.add, old, distance), stack.top, type)
            stack.top = old
        case .call(let call):
            var operands: [Value] = []
            for _ in call.literals { operands.append(stack.pop()) }
            stack.push(try TextEvaluation(context: context).value(of: call, operands.reversed()))
        case .and, .or, .jumpIfZero, .jump: break
        }
    }

    private static func set(_ value: Value?) throws(ExpressionError) -> Value {
        if let value { return value }
        throw ExpressionError(
            .unknownName, "the variable was never set", remedy: "set it first: set $name = 0")
    }

    private func register(_ name: RegisterName) throws(ExpressionError) -> Value {
        var value = Value(bits: try context.register(name), width: name.width)
        if let segment = name.addressedSegment { value.base = context.base(of: segment, at: value.bits) }
        return value
    }

    private func set(_ name: RegisterName, _ value: Value) throws(ExpressionError) -> Value {
        // A negative number is cut to the register, if no more than its sign is lost.
        var bits = value.bits
        if value.isSigned, value.signed < 0, name.width < 64,
            value.signed >> Int64(name.width - 1) == -1
        {
            bits &= name.mask
        }
        try context.setRegister(name, to: bits)
        return Value(bits: bits, width: name.width)
    }

    private func apply(_ operation: Operation.Binary, _ a: Value, _ b: Value) throws(ExpressionError) -> Value
    {
        if let value = Arithmetic.apply(operation, a, b, pointerWidth: context.pointerWidth) { return value }
        throw ExpressionError(.outOfRange, "division by zero")
    }

    private func cast(_ value: Value, _ type: ValueType) -> Value {
        guard let pointee = type.pointee else {
            return Value(bits: value.bits, width: type.width, isSigned: type.isSigned)
        }
        var pointer = Value(bits: value.bits, address: value.address)
        pointer.base = value.base
        pointer.pointee = pointee
        return pointer
    }

    private func load(_ place: Value, _ type: ValueType?) throws(ExpressionError) -> Value {
        let type = type ?? place.pointee ?? .unadorned
        let width = type.size(pointerWidth: context.pointerWidth)
        let bits = try context.load(place.place, width: width / 8)
        return cast(
            Value(bits: bits, width: width),
            type.pointers > 0 ? type : ValueType(width: width, isSigned: type.isSigned))
    }

    private func store(_ value: Value, _ place: Value, _ type: ValueType?) throws(ExpressionError) -> Value {
        let type = type ?? place.pointee ?? .unadorned
        let width = type.size(pointerWidth: context.pointerWidth)
        let shift = Int64(64 - width)
        guard
            (value.bits << UInt64(shift)) >> UInt64(shift) == value.bits
                || (value.signed << shift) >> shift == value.signed
        else {
            throw ExpressionError(.outOfRange, "\(hex(value.bits)) does not fit in \(width / 8) bytes")
        }
        try context.store(value.bits, to: place.place, width: width / 8)
        return cast(Value(bits: value.bits, width: width), type)
    }
}

/// The values that an expression works on. The parser has counted how high it gets.
private struct ValueStack {
    private let memory: UnsafeMutableBufferPointer<Value>
    private var count = 0

    init(_ memory: UnsafeMutableBufferPointer<Value>) { self.memory = memory }

    var top: Value {
        // SAFETY: the buffer has at least one place and is initialised; its bounds are checked in debug builds
        // and were counted by the parser for all others.
        get { memory[count - 1] }
        set { memory[count - 1] = newValue }
    }

    mutating func push(_ value: Value) {
        count += 1
        top = value
    }

    @discardableResult
    mutating func pop() -> Value {
        defer { count -= 1 }
        return top
    }
}
