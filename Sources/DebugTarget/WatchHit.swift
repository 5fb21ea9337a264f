public import X86

/// An access to watched memory that stopped the guest.
public struct WatchHit: Sendable, Hashable {
    /// The watchpoint's number.
    public var number: Int
    public var isWrite: Bool
    /// The first watched byte that was touched, in the form in which the watchpoint was given.
    public var address: Address
    /// How many watched bytes, 8 at most.
    public var length: Int
    /// All that the instruction accessed there, which may be more than is watched; nil where only a comparison shows
    /// what happened.
    public var extent: Extent?

    /// Where an access begins, and how many bytes it has.
    public struct Extent: Sendable, Hashable {
        public var address: Address
        public var length: Int
        public init(address: Address, length: Int) {
            self.address = address
            self.length = length
        }
    }

    /// Before the access, little-endian; nil where that is not known.
    public var old: UInt64?
    /// After it; a read's value.
    public var new: UInt64

    public init(
        number: Int, isWrite: Bool, address: Address, length: Int, old: UInt64?, new: UInt64,
        extent: Extent? = nil
    ) {
        self.extent = extent
        self.number = number
        self.isWrite = isWrite
        self.address = address
        self.length = length
        self.old = old
        self.new = new
    }
}
