/// The sixteen general-purpose registers in the order of their encoding, and the instruction pointer.
/// Source: SDM volume 2A, table 3-1.
public enum GeneralRegister: UInt8, Sendable, Hashable, CaseIterable {
    /// By the number that instructions encode, 0 to 7.
    case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi
    /// 8 to 15.
    case r8, r9, r10, r11, r12, r13, r14, r15
    /// The instruction pointer.
    case rip
}

extension GeneralRegisters {
    /// The whole 64-bit register.
    public subscript(register: GeneralRegister) -> UInt64 {
        get {
            switch register {
            case .rax: rax
            case .rcx: rcx
            case .rdx: rdx
            case .rbx: rbx
            case .rsp: rsp
            case .rbp: rbp
            case .rsi: rsi
            case .rdi: rdi
            case .r8: r8
            case .r9: r9
            case .r10: r10
            case .r11: r11
            case .r12: r12
            case .r13: r13
            case .r14: r14
            case .r15: r15
            case .rip: rip
            }
        }
        set {
            switch register {
            case .rax: rax = newValue
            case .rcx: rcx = newValue
            case .rdx: rdx = newValue
            case .rbx: rbx = newValue
            case .rsp: rsp = newValue
            case .rbp: rbp = newValue
            case .rsi: rsi = newValue
            case .rdi: rdi = newValue
            case .r8: r8 = newValue
            case .r9: r9 = newValue
            case .r10: r10 = newValue
            case .r11: r11 = newValue
            case .r12: r12 = newValue
            case .r13: r13 = newValue
            case .r14: r14 = newValue
            case .r15: r15 = newValue
            case .rip: rip = newValue
            }
        }
    }
}

extension DebugRegisters {
    /// DR0 to DR3. Another number is a mistake of the caller.
    public subscript(address number: Int) -> UInt64 {
        get {
            switch number {
            case 0: dr0
            case 1: dr1
            case 2: dr2
            case 3: dr3
            default: preconditionFailure("there is no debug address register \(number)")
            }
        }
        set {
            switch number {
            case 0: dr0 = newValue
            case 1: dr1 = newValue
            case 2: dr2 = newValue
            case 3: dr3 = newValue
            default: preconditionFailure("there is no debug address register \(number)")
            }
        }
    }
}
