public import X86

/// In real mode the guest went, or is about to go, through a vector that holds 0000:0000: nobody is there to serve it. In
/// the other modes it has come to address 0, where no code is.
public struct EmptyVector: Sendable, Hashable {
    public enum Way: Sendable, Hashable {
        /// INT n, INT3 or INTO: the vCPU stands at it, and it was not executed.
        case software(vector: UInt8)
        /// The exception that the instruction at ``from`` raised: the vCPU stands at 0000:0000.
        case exception(vector: UInt8)
        /// An interrupt from outside, before the instruction at ``from``: the vCPU stands at 0000:0000.
        case interrupt
        /// A jump, call or return to 0000:0000.
        case jump
        /// In protected or 64-bit mode, a jump, call or return to linear address 0, where zeros stand: a null pointer to
        /// code. The vCPU stands there.
        case zeros
    }

    public var way: Way
    /// CS and IP of the instruction; of a jump, whose place is not known, where it led to.
    public var from: SegmentedAddress

    public init(way: Way, from: SegmentedAddress) {
        self.way = way
        self.from = from
    }
}
