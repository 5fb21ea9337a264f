import DebugTarget
import Debugger
import X86

/// A condition in GDB's bytecode, which is evaluated where the guest is and so costs no round trip where it is false.
///
/// Checked as a whole before it is used: every operation is known and complete, and every jump leads to one. Source:
/// GDB's manual, "The GDB Agent Expression Mechanism".
struct AgentExpression: Sendable {
    /// One operation with its operand.
    private struct Step: Sendable {
        var operation: Operation
        var operand: UInt64 = 0
    }

    private enum Operation: UInt8, Sendable {
        case add = 0x02
        case subtract, multiply, divideSigned, divideUnsigned, remainderSigned, remainderUnsigned
        case shiftLeft = 0x09
        case shiftRightSigned, shiftRightUnsigned
        case not = 0x0E
        case and, or, exclusiveOr, complement, equal, lessSigned, lessUnsigned
        case extend = 0x16
        case load8, load16, load32, load64
        case jumpIf = 0x20
        case jump, constant8, constant16, constant32, constant64
        case register = 0x26
        case end, duplicate, drop, zeroExtend, swap
        case pick = 0x32
        case rotate

        /// In bytes.
        var operandSize: Int {
            switch self {
            case .extend, .constant8, .zeroExtend, .pick: 1
            case .constant16, .jump, .jumpIf, .register: 2
            case .constant32: 4
            case .constant64: 8
            default: 0
            }
        }
    }

    private let steps: [Step]
    private let registers: [UInt64: RegisterName]
    private let places: Set<UInt64>

    /// Of one expression, in bytes: no condition that a person writes comes near it.
    static let longest = 4096
    /// Operations that an evaluation does at most; the guest is stopped meanwhile.
    static let mostSteps = 10_000
    static let deepest = 256

    /// - Parameter layout: what the numbers of registers stand for.
    init(_ code: [UInt8], _ layout: RegisterLayout) throws(RemoteFailure) {
        guard !code.isEmpty, code.count <= Self.longest else {
            throw RemoteFailure(.malformed, "a condition has 1 to \(Self.longest) bytes, not \(code.count)")
        }
        var steps: [Step] = []
        var indexes: [Int: Int] = [:]
        var registers: [UInt64: RegisterName] = [:]
        var places: Set<UInt64> = []
        var place = 0
        while place < code.count {
            indexes[place] = steps.count
            guard let operation = Operation(rawValue: code[place]) else {
                throw RemoteFailure(
                    .malformed, "the condition's operation 0x\(hexNumber(code[place])) cannot be done here")
            }
            let size = operation.operandSize
            guard code.count - place > size else {
                throw .malformed("condition: it ends within an operation")
            }
            var operand: UInt64 = 0
            for byte in code[(place + 1)..<(place + 1 + size)] { operand = operand << 8 | UInt64(byte) }
            place += 1 + size
            if operation == .register {
                switch layout[operand]?.source {
                case .named(let name) where name.group != .debug: registers[operand] = name
                case .place: places.insert(operand)
                default:
                    throw RemoteFailure(
                        .malformed, "register \(operand) is not at hand where a condition is evaluated")
                }
            }
            steps.append(Step(operation: operation, operand: operand))
        }
        // Jumps count bytes, and here they count operations.
        for index in steps.indices where [.jump, .jumpIf].contains(steps[index].operation) {
            guard let target = indexes[Int(steps[index].operand)] else {
                throw .malformed("condition: a jump leads into an operation")
            }
            steps[index].operand = UInt64(target)
        }
        self.steps = steps
        self.registers = registers
        self.places = places
    }

    /// The value that it leaves on top of its stack.
    func value(
        _ general: GeneralRegisters, _ special: SpecialRegisters, memory: any PhysicalMemory
    ) throws(DebuggerError) -> UInt64 {
        var stack = Stack()
        var (place, count) = (0, 0)
        while place < steps.count {
            count += 1
            guard count <= Self.mostSteps else {
                throw DebuggerError(.limit, "the condition takes more than \(Self.mostSteps) operations")
            }
            let step = steps[place]
            place += 1
            switch step.operation {
            case .end: return try stack.pop()
            case .jump: place = Int(step.operand)
            case .jumpIf: if try stack.pop() != 0 { place = Int(step.operand) }
            case .constant8, .constant16, .constant32, .constant64: try stack.push(step.operand)
            case .register:
                if places.contains(step.operand) {
                    try stack.push(VCPUSnapshot.pc(general, special))
                } else if let name = registers[step.operand] {
                    try stack.push(name.value(general, special))
                }
            case .load8, .load16, .load32, .load64:
                let size = 1 << Int(step.operation.rawValue - Operation.load8.rawValue)
                let address = try stack.pop()
                let bytes = LinearMemory(memory: memory, special: special).prefix(address)
                guard bytes.count >= size else {
                    throw DebuggerError(.unreadable, "\(size) bytes at \(hex(address)) cannot be read")
                }
                try stack.push(size == 8 ? bytes.bytes : bytes.bytes & (1 << UInt64(size * 8) - 1))
            default: try Self.calculate(step, &stack)
            }
        }
        throw DebuggerError(.refused, "the condition ends without a value")
    }

    private static func calculate(_ step: Step, _ stack: inout Stack) throws(DebuggerError) {
        switch step.operation {
        case .not: try stack.push(try stack.pop() == 0 ? 1 : 0)
        case .complement: try stack.push(~(try stack.pop()))
        case .extend, .zeroExtend:
            let value = try stack.pop()
            guard (1...63).contains(step.operand) else { return try stack.push(value) }
            let unused = 64 - step.operand
            try stack.push(
                step.operation == .extend
                    ? UInt64(bitPattern: Int64(bitPattern: value << unused) >> Int64(unused))
                    : (value << unused) >> unused)
        case .duplicate: try stack.pick(0)
        case .pick: try stack.pick(Int(step.operand))
        case .drop: _ = try stack.pop()
        case .swap:
            let (b, a) = (try stack.pop(), try stack.pop())
            try stack.push(b)
            try stack.push(a)
        case .rotate:
            // a b c becomes c a b.
            let (c, b, a) = (try stack.pop(), try stack.pop(), try stack.pop())
            for value in [c, a, b] { try stack.push(value) }
        default:
            let (b, a) = (try stack.pop(), try stack.pop())
            try stack.push(try result(step.operation, a, b))
        }
    }

    private static func result(
        _ operation: Operation, _ a: UInt64, _ b: UInt64
    ) throws(DebuggerError) -> UInt64 {
        let (signedA, signedB) = (Int64(bitPattern: a), Int64(bitPattern: b))
        switch operation {
        case .add: return a &+ b
        case .subtract: return a &- b
        case .multiply: return a &* b
        case .divideSigned, .divideUnsigned, .remainderSigned, .remainderUnsigned:
            guard b != 0 else { throw DebuggerError(.outOfRange, "the condition divides by zero") }
            switch operation {
            case .divideSigned: return UInt64(bitPattern: signedA.dividedReportingOverflow(by: signedB).0)
            case .divideUnsigned: return a / b
            case .remainderSigned:
                return UInt64(bitPattern: signedA.remainderReportingOverflow(dividingBy: signedB).0)
            default: return a % b
            }
        case .shiftLeft: return b < 64 ? a << b : 0
        case .shiftRightSigned: return UInt64(bitPattern: signedA >> Int64(min(b, 63)))
        case .shiftRightUnsigned: return b < 64 ? a >> b : 0
        case .and: return a & b
        case .or: return a | b
        case .exclusiveOr: return a ^ b
        case .equal: return a == b ? 1 : 0
        case .lessSigned: return signedA < signedB ? 1 : 0
        case .lessUnsigned: return a < b ? 1 : 0
        default: throw DebuggerError(.refused, "an operation of the condition has no value")
        }
    }

    private struct Stack {
        private var values: [UInt64] = []

        mutating func push(_ value: UInt64) throws(DebuggerError) {
            guard values.count < AgentExpression.deepest else {
                throw DebuggerError(.limit, "the condition needs more than \(AgentExpression.deepest) places")
            }
            values.append(value)
        }

        mutating func pop() throws(DebuggerError) -> UInt64 {
            guard let value = values.popLast() else {
                throw DebuggerError(.refused, "the condition takes a value that is not there")
            }
            return value
        }

        /// Puts the value that is `depth` below the top on top.
        mutating func pick(_ depth: Int) throws(DebuggerError) {
            guard depth < values.count else {
                throw DebuggerError(.refused, "the condition takes a value that is not there")
            }
            try push(values[values.count - 1 - depth])
        }
    }
}

/// The conditions of one breakpoint: it stops the guest where any of them holds.
struct AgentCondition: StopCondition {
    var expressions: [AgentExpression]

    func holds(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, memory: any PhysicalMemory
    ) throws(DebuggerError) -> Bool {
        for expression in expressions
        where try expression.value(registers, special, memory: memory) != 0 { return true }
        return false
    }
}
