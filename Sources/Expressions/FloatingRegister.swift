package import X86

/// Registers of the FPU that are numbers, by their names in GDB and in the manual. They do not come with an exit: only
/// the debugger can ask for them.
package enum FloatingRegister: String, Sendable, Hashable, CaseIterable {
    case mxcsr, fctrl, fstat, ftag

    package init?(_ name: String) {
        let lower = name.lowercased()
        switch lower {
        case "fcw": self = .fctrl
        case "fsw": self = .fstat
        case "ftw": self = .ftag
        default: self.init(rawValue: lower)
        }
    }

    package func value(in registers: FPURegisters) -> Value {
        switch self {
        case .mxcsr: Value(bits: UInt64(registers.mxcsr), width: 32)
        case .fctrl: Value(bits: UInt64(registers.controlWord), width: 16)
        case .fstat: Value(bits: UInt64(registers.statusWord), width: 16)
        case .ftag: Value(bits: UInt64(registers.tagWord), width: 8)
        }
    }
}

/// A register that is wider than a number of an expression: `xmm3`, `st0`.
public enum WideRegister: Sendable, Hashable {
    case xmm(Int)
    case st(Int)

    /// With or without `$`; nil for another name.
    public init?(_ text: String) {
        let name = text.hasPrefix("$") ? text.dropFirst().lowercased() : text.lowercased()
        for (kind, count) in [("xmm", 16), ("st", 8)] where name.hasPrefix(kind) {
            let digits = name.dropFirst(kind.count)
            guard let number = Int(digits), String(number) == digits, (0..<count).contains(number) else {
                continue
            }
            self = kind == "xmm" ? .xmm(number) : .st(number)
            return
        }
        return nil
    }
}
