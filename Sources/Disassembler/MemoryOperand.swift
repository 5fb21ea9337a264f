public import X86

/// What an instruction accesses in memory, or (LEA) only computes the address of.
public struct MemoryOperand: Sendable, Hashable {
    public var segment: SegmentName
    public var base: GeneralRegister?
    public var index: GeneralRegister?
    /// The bits of the index that count: those of an address, but 8 for XLAT.
    public var indexWidth: Int
    /// 1, 2, 4 or 8.
    public var scale: Int
    public var displacement: Int64
    /// Of one access, in bytes. A repeated string instruction makes several.
    public var size: Int
    public var isRead: Bool
    public var isWritten: Bool
    /// Not written out in the instruction's text: a stack slot, a string instruction's operand.
    public var isImplicit: Bool
    /// LEA, INVLPG and the like: nothing is read or written there.
    public var isAddressOnly: Bool
    /// The index is a vector register: there are as many addresses as elements.
    public var hasVectorIndex: Bool
    /// Of the address, in bits; a stack slot's depends on SS too.
    public var addressWidth: Int
    /// The IP after the instruction, which is what RIP as a base stands for.
    public var instructionEnd: UInt64

    /// The effective address: the offset in the segment. Nil where it needs a vector register.
    ///
    /// The registers are those *before* the instruction. The bit offset that BT and its siblings take from a
    /// register is not added.
    public func offset(in file: RegisterFile) -> UInt64? {
        guard !hasVectorIndex else { return nil }
        var sum = UInt64(bitPattern: displacement)
        if let base { sum &+= base == .rip ? instructionEnd : file.general[base] }
        if let index {
            let value = file.general[index] & Self.mask(indexWidth)
            sum &+= value &* UInt64(scale)
        }
        let isStackSlot = isImplicit && segment == .ss && base == .rsp
        let width = isStackSlot ? file.mode.stackPointerWidth(ss: file.special.ss.attributes) : addressWidth
        return sum & Self.mask(width)
    }

    /// The linear address, with the segment's cached base. Nil where ``offset(in:)`` is.
    public func linear(in file: RegisterFile) -> UInt64? {
        offset(in: file).map { file.special.linear(segment, $0, mode: file.mode) }
    }

    private static func mask(_ width: Int) -> UInt64 {
        width >= 64 ? .max : (1 << UInt64(max(width, 1))) - 1
    }
}

extension CPUMode {
    /// The bits of RSP that a stack access uses: by SS.B, but 64 in 64-bit mode. Source: SDM volume 1, 6.2.3.
    fileprivate func stackPointerWidth(ss: SegmentAttributes) -> Int {
        self == .long64 ? 64 : ss.isBig ? 32 : 16
    }
}
