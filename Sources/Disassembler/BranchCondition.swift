public import X86

/// What decides whether a conditional branch is taken. Source: SDM volume 2A, Jcc; LOOP/LOOPcc.
public enum BranchCondition: Sendable, Hashable {
    /// Jcc with the low four bits of its opcode.
    case flags(UInt8)
    /// JCXZ, JECXZ, JRCXZ.
    case counterIsZero
    /// LOOP: the counter, less one, is not zero.
    case loop
    /// LOOPE: as LOOP, and ZF is set.
    case loopWhileEqual
    /// LOOPNE: as LOOP, and ZF is clear.
    case loopWhileNotEqual

    /// - Parameters:
    ///   - counter: RCX; only its low `addressWidth` bits count.
    ///   - addressWidth: of the instruction, in bits.
    public func holds(rflags: RFlags, counter: UInt64, addressWidth: Int) -> Bool {
        let mask: UInt64 = addressWidth >= 64 ? .max : (1 << UInt64(max(addressWidth, 1))) - 1
        let isLast = (counter &- 1) & mask == 0
        switch self {
        case .flags(let code): return Self.flagsHold(code, rflags)
        case .counterIsZero: return counter & mask == 0
        case .loop: return !isLast
        case .loopWhileEqual: return !isLast && rflags.contains(.zf)
        case .loopWhileNotEqual: return !isLast && !rflags.contains(.zf)
        }
    }

    private static func flagsHold(_ code: UInt8, _ rflags: RFlags) -> Bool {
        let isLess = rflags.contains(.sf) != rflags.contains(.of)
        let holds =
            switch code >> 1 & 7 {
            case 0: rflags.contains(.of)
            case 1: rflags.contains(.cf)
            case 2: rflags.contains(.zf)
            case 3: rflags.contains(.cf) || rflags.contains(.zf)
            case 4: rflags.contains(.sf)
            case 5: rflags.contains(.pf)
            case 6: isLess
            default: isLess || rflags.contains(.zf)
            }
        return holds != (code & 1 == 1)
    }
}
