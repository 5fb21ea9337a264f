package import X86

/// Where the memory pane looks.
public struct MemoryPlace: Sendable, Hashable {
    public enum Space: Sendable, Hashable {
        case linear
        case physical
        /// The base of a segment, which `offset` is added to.
        case segmented(base: UInt64)
    }
    public var space: Space
    public var offset: UInt64
    /// Before each row's address: `p:`, `07c0:`, `ds:`, or nothing.
    public var prefix: String
    /// The digits of a row's address, at least.
    public var digits: Int
    /// The digits that ``offset`` is shown with.
    public var shownDigits: Int { offset > UInt64(UInt32.max) ? 16 : digits }
    public init(space: Space, offset: UInt64, prefix: String = "", digits: Int = 8) {
        self.space = space
        self.offset = offset
        self.prefix = prefix
        self.digits = digits
    }
}

extension MemoryPlace {
    /// The linear address it begins at; nil for a physical one.
    public var linear: UInt64? {
        switch space {
        case .linear: offset
        case .physical: nil
        case .segmented(let base): base &+ offset
        }
    }

    /// So many bytes further on, or back.
    public func moved(by bytes: Int) -> MemoryPlace {
        var place = self
        // Offsets in a segment end where its digits do.
        var mask = UInt64.max
        if case .segmented = space, digits < 16 { mask = (1 << UInt64(digits * 4)) - 1 }
        place.offset = (offset &+ UInt64(bitPattern: Int64(bytes))) & mask
        return place
    }
}

extension MemoryPlace {
    package var address: Address {
        switch space {
        case .linear: .linear(offset)
        case .physical: .physical(offset)
        case .segmented(let base): .linear(base &+ offset)
        }
    }
}

/// So many digits at least.
package func hex(_ value: UInt64, _ digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
}
