import X86

/// C's arithmetic on values: what is narrower than int becomes int, then both sides take the wider type, the
/// unsigned one of two that are as wide. It wraps. Source: C17, 6.3.1.1 and 6.3.1.8.
///
/// A number without a type is no int: it takes the other side's type if it fits there (`$eax == -1` is true for
/// 0xffffffff), and 64 bits if not or if both sides are such numbers, so that addresses are not cut.
enum Arithmetic {
    /// `a` and `b` in their common type.
    static func balanced(_ a: Value, _ b: Value) -> (Value, Value) {
        switch (a.isBare, b.isBare) {
        case (true, true):
            let isSigned = a.isSigned && b.isSigned
            var (left, right) = (a, b)
            left.isSigned = isSigned
            right.isSigned = isSigned
            (left.address, right.address) = (nil, nil)
            return (left, right)
        case (true, false):
            let (right, left) = balanced(b, number: a)
            return (left, right)
        case (false, true): return balanced(a, number: b)
        case (false, false):
            let (left, right) = (promoted(a), promoted(b))
            let width = max(left.width, right.width)
            let isSigned =
                left.width == right.width
                ? left.isSigned && right.isSigned : (left.width > right.width ? left : right).isSigned
            return (
                left.converted(width: width, isSigned: isSigned),
                right.converted(width: width, isSigned: isSigned)
            )
        }
    }

    private static func balanced(_ value: Value, number: Value) -> (Value, Value) {
        let value = promoted(value)
        let (width, isSigned) = (value.width, value.isSigned)
        if number.converted(width: width, isSigned: true).bits == number.bits, number.isSigned {
            return (value, number.converted(width: width, isSigned: isSigned))
        }
        if number.converted(width: width, isSigned: false).bits == number.bits {
            return (
                value.converted(width: width, isSigned: false),
                number.converted(width: width, isSigned: false)
            )
        }
        return (
            value.converted(width: 64, isSigned: isSigned && number.isSigned),
            number.converted(width: 64, isSigned: isSigned && number.isSigned)
        )
    }

    static func promoted(_ value: Value) -> Value {
        guard !value.isBare else { return value }
        guard value.width >= 32 else { return Value(bits: value.bits, width: 32, isSigned: true) }
        return Value(bits: value.bits, width: value.width, isSigned: value.isSigned)
    }

    /// A value of the type that `like` has.
    private static func result(_ bits: UInt64, like: Value) -> Value {
        var value = Value(bits: bits, width: like.width, isSigned: like.isSigned)
        value.isBare = like.isBare
        return value
    }

    static func apply(_ operation: Operation.Unary, _ value: Value) -> Value {
        let operand = promoted(value)
        switch operation {
        case .plus: return result(operand.bits, like: operand)
        case .minus: return result(0 &- operand.bits, like: operand)
        case .complement: return result(~operand.bits, like: operand)
        case .not: return Value(truth: value.isZero)
        }
    }

    /// - Parameter pointerWidth: of the guest's pointers, in bits.
    /// - Returns: nil for a division by zero.
    static func apply(_ operation: Operation.Binary, _ a: Value, _ b: Value, pointerWidth: Int) -> Value? {
        switch operation {
        case .add: return sum(a, b, pointerWidth)
        case .subtract: return difference(a, b, pointerWidth)
        case .shiftLeft, .shiftRight: return shifted(a, by: b, left: operation == .shiftLeft)
        default: break
        }
        let (left, right) = balanced(a, b)
        let isSigned = left.isSigned
        switch operation {
        case .multiply: return result(left.bits &* right.bits, like: left)
        case .divide, .remainder:
            guard !right.isZero else { return nil }
            return result(quotient(left, right, isRemainder: operation == .remainder), like: left)
        case .bitAnd: return result(left.bits & right.bits, like: left)
        case .bitOr: return result(left.bits | right.bits, like: left)
        case .bitXor: return result(left.bits ^ right.bits, like: left)
        case .equal: return Value(truth: left.bits == right.bits)
        case .notEqual: return Value(truth: left.bits != right.bits)
        case .less: return Value(truth: isSigned ? left.signed < right.signed : left.bits < right.bits)
        case .lessOrEqual:
            return Value(truth: isSigned ? left.signed <= right.signed : left.bits <= right.bits)
        case .greater: return Value(truth: isSigned ? left.signed > right.signed : left.bits > right.bits)
        case .greaterOrEqual:
            return Value(truth: isSigned ? left.signed >= right.signed : left.bits >= right.bits)
        case .add, .subtract, .shiftLeft, .shiftRight: return nil
        }
    }

    private static func quotient(_ a: Value, _ b: Value, isRemainder: Bool) -> UInt64 {
        guard a.isSigned else { return isRemainder ? a.bits % b.bits : a.bits / b.bits }
        // The least number divided by -1 does not fit: it wraps, as all else does.
        let result =
            isRemainder
            ? a.signed.remainderReportingOverflow(dividingBy: b.signed)
            : a.signed.dividedReportingOverflow(by: b.signed)
        return UInt64(bitPattern: result.partialValue)
    }

    private static func shifted(_ value: Value, by count: Value, left: Bool) -> Value {
        let operand = promoted(value)
        let distance = count.isSigned && count.signed < 0 ? UInt64.max : count.bits
        let isBeyond = distance >= UInt64(operand.width)
        if left { return result(isBeyond ? 0 : operand.bits << distance, like: operand) }
        if operand.isSigned {
            return result(
                UInt64(bitPattern: operand.signed >> Int64(min(distance, 63))), like: operand)
        }
        return result(isBeyond ? 0 : operand.bits >> distance, like: operand)
    }

    // MARK: addresses

    /// An address stays an address of its form, and a pointer moves by the size of what it points to.
    static func moved(_ base: Value, by distance: UInt64, _ pointerWidth: Int) -> Value {
        let scale = UInt64((base.pointee?.size(pointerWidth: pointerWidth) ?? 8) / 8)
        let bytes = distance &* scale
        var moved = base
        moved.bits = base.bits &+ bytes
        moved.address = base.address?.advanced(by: Int(truncatingIfNeeded: bytes))
        return moved
    }

    private static func sum(_ a: Value, _ b: Value, _ pointerWidth: Int) -> Value {
        if isPlace(a) { return moved(a, by: b.bits, pointerWidth) }
        if isPlace(b) { return moved(b, by: a.bits, pointerWidth) }
        let (left, right) = balanced(a, b)
        var sum = result(left.bits &+ right.bits, like: left)
        // A number further on it is the same segment; the sum of two of them is no address.
        if a.base == nil || b.base == nil { sum.base = a.base ?? b.base }
        return sum
    }

    private static func difference(_ a: Value, _ b: Value, _ pointerWidth: Int) -> Value {
        if isPlace(a), !isPlace(b) { return moved(a, by: 0 &- b.bits, pointerWidth) }
        if let pointee = a.pointee, b.pointee == pointee {
            let size = Int64(pointee.size(pointerWidth: pointerWidth) / 8)
            let bytes = Int64(bitPattern: a.bits &- b.bits)
            return Value(bits: UInt64(bitPattern: bytes / max(size, 1)), isSigned: true)
        }
        let (left, right) = balanced(a, b)
        var difference = result(left.bits &- right.bits, like: left)
        if b.base == nil { difference.base = a.base }
        return difference
    }

    private static func isPlace(_ value: Value) -> Bool { value.address != nil || value.pointee != nil }
}
