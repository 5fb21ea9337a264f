import X86

/// A register as a client counts it.
struct RemoteRegister: Sendable {
    /// Its number in `p` and `P`.
    var number: Int
    var name: String
    var bits: Int
    /// Of the target description: one of GDB's own, or one that the feature defines.
    var type: String
    /// What clients show it with.
    var group: Group
    var source: RegisterSource

    enum Group: String, Sendable { case general, float, vector, system }

    /// In bytes.
    var size: Int { bits / 8 }
}

/// Where a register's value is.
enum RegisterSource: Sendable, Hashable {
    /// The place of the next instruction, in the form that the session has.
    case place
    case named(RegisterName)
    /// ST0 to ST7, from the top of the stack on.
    case st(Int)
    case x87(X87Word)
    case xmm(Int)
    case mxcsr
    /// Bytes 16 to 31 of YMM0 to YMM15.
    case ymmHigh(Int)
    case msr(UInt32)

    /// What the target description has of the x87 but its stack.
    enum X87Word: String, Sendable, CaseIterable { case fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop }
}

/// How the registers of a guest are laid out for a client: GDB knows one layout for each width of code.
enum RemoteArchitecture: String, Sendable, CaseIterable {
    case i8086
    case i386
    case long64 = "i386:x86-64"

    /// The layout of what a vCPU executes.
    init(_ codeWidth: Int) {
        self =
            switch codeWidth {
            case 16: .i8086
            case 32: .i386
            default: .long64
            }
    }

    /// In bytes, of the registers that the architecture is named for.
    var wordSize: Int { self == .long64 ? 8 : 4 }
}
