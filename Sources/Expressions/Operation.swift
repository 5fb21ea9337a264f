package import X86

/// One step of an expression that has been read: it takes its operands from a stack and leaves its result there.
///
/// A flat list instead of a tree: no expression, however long, makes evaluation recurse.
package enum Operation: Sendable, Hashable {
    case push(Value)
    case register(RegisterName)
    case floating(FloatingRegister)
    case variable(Int)

    /// `p:` and `v:` before an address.
    case physical, virtual
    /// `cs:OFF`: the offset is on the stack.
    case segmented(SegmentName)
    /// `SELECTOR:OFF`: both are on the stack.
    case far

    /// What stands at the address on the stack; nil: as its pointer's type says.
    case load(ValueType?)
    case cast(ValueType)
    /// `&` of what would have been loaded: the address becomes a pointer to it.
    case point(ValueType?)
    /// `POINTER[N]`, without the load.
    case index

    case unary(Unary)
    case binary(Binary)

    /// After the left side of `&&`: a zero is the result, and jumps.
    case and(Int)
    case or(Int)
    /// After the right side of `&&` and `||`.
    case truth
    /// `?`: jumps if zero, and takes the condition away.
    case jumpIfZero(Int)
    case jump(Int)
    /// Takes away the value left of a comma.
    case drop
    /// One more of what is on top.
    case copy

    case setRegister(RegisterName)
    case setVariable(Int)
    /// The value on top goes to the address below it.
    case store(ValueType?)
    /// `X++`: the value before is what remains; the new one is `delta` more. Memory's address is on the stack.
    case stepRegister(RegisterName, delta: Int64)
    case stepVariable(Int, delta: Int64)
    case stepMemory(ValueType?, delta: Int64)

    /// A function of strings: its operands are on the stack.
    case call(TextCall)

    package enum Unary: Sendable, Hashable { case plus, minus, complement, not }

    package enum Binary: Sendable, Hashable {
        case multiply, divide, remainder, add, subtract, shiftLeft, shiftRight
        case less, lessOrEqual, greater, greaterOrEqual, equal, notEqual
        case bitAnd, bitXor, bitOr
    }

    /// What it adds to the height of the stack.
    var growth: Int {
        switch self {
        case .push, .register, .floating, .variable, .copy, .stepRegister, .stepVariable: 1
        case .physical, .virtual, .segmented, .load, .cast, .point, .unary, .truth, .jump, .setRegister,
            .setVariable, .stepMemory:
            0
        case .call(let call): 1 - call.literals.count
        case .far, .index, .binary, .and, .or, .jumpIfZero, .drop, .store: -1
        }
    }

    /// It changes a convenience variable.
    var changesVariable: Bool {
        switch self {
        case .setVariable, .stepVariable: true
        default: false
        }
    }

    /// It changes the guest.
    var changesGuest: Bool {
        switch self {
        case .setRegister, .store, .stepRegister, .stepMemory: true
        default: false
        }
    }
}

extension Punctuator {
    /// Of operators with two operands: C's precedence, the loosest first.
    package var binary: (precedence: Int, operation: Operation.Binary)? {
        switch self {
        case .bar: (3, .bitOr)
        case .caret: (4, .bitXor)
        case .ampersand: (5, .bitAnd)
        case .equal: (6, .equal)
        case .notEqual: (6, .notEqual)
        case .less: (7, .less)
        case .lessOrEqual: (7, .lessOrEqual)
        case .greater: (7, .greater)
        case .greaterOrEqual: (7, .greaterOrEqual)
        case .shiftLeft: (8, .shiftLeft)
        case .shiftRight: (8, .shiftRight)
        case .plus: (9, .add)
        case .minus: (9, .subtract)
        case .star: (10, .multiply)
        case .slash: (10, .divide)
        case .percent: (10, .remainder)
        default: nil
        }
    }

    /// `+` of `+=`.
    var compound: Operation.Binary? {
        switch self {
        case .addAssign: .add
        case .subtractAssign: .subtract
        case .multiplyAssign: .multiply
        case .divideAssign: .divide
        case .remainderAssign: .remainder
        case .shiftLeftAssign: .shiftLeft
        case .shiftRightAssign: .shiftRight
        case .bitAndAssign: .bitAnd
        case .bitOrAssign: .bitOr
        case .bitXorAssign: .bitXor
        default: nil
        }
    }
}
