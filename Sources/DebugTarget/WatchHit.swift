public import X86

/// An access to watched memory that stopped the guest.
public struct WatchHit: Sendable, Hashable {
    /// The watchpoint's number.
    public var number: Int
    public var isWrite: Bool
    /// The first byte that was touched, in the form in which the watchpoint was given.
    public var address: Address
    /// How many bytes, 8 at most.
    public var length: Int
    /// Before the access, little-endian; nil where that is not known.
    public var old: UInt64?
    /// After it; a read's value.
    public var new: UInt64

    public init(number: Int, isWrite: Bool, address: Address, length: Int, old: UInt64?, new: UInt64) {
        self.number = number
        self.isWrite = isWrite
        self.address = address
        self.length = length
        self.old = old
        self.new = new
    }
}
