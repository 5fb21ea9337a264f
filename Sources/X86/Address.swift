/// An address in the form in which the user gave it, so that it can be shown so again.
public enum Address: Sendable, Hashable, CustomStringConvertible {
    /// After segmentation, before paging.
    case linear(UInt64)
    /// The same, written `v:` to say that it goes through the page tables.
    case virtual(UInt64)
    /// Guest-physical, written `p:`.
    case physical(UInt64)
    /// Written `SEG:OFF`.
    case segmented(SegmentReference, offset: UInt64)

    /// As the user writes it.
    public var description: String {
        switch self {
        case .linear(let value): hex(value)
        case .virtual(let value): "v:" + hex(value)
        case .physical(let value): "p:" + hex(value)
        case .segmented(.selector(let selector), let offset):
            SegmentedAddress(selector: selector, offset: offset).description
        case .segmented(.register(let name), let offset):
            "\(name.rawValue):\(hexadecimal(offset, digits: 4))"
        }
    }

    /// The address `count` bytes further on, in the same form.
    public func advanced(by count: Int) -> Address {
        let distance = UInt64(bitPattern: Int64(count))
        return switch self {
        case .linear(let value): .linear(value &+ distance)
        case .virtual(let value): .virtual(value &+ distance)
        case .physical(let value): .physical(value &+ distance)
        case .segmented(let segment, let offset): .segmented(segment, offset: offset &+ distance)
        }
    }
}

/// The part before the colon of `SEG:OFF`.
public enum SegmentReference: Sendable, Hashable {
    /// A number. In real mode it is a paragraph; in protected mode it names a descriptor.
    case selector(UInt16)
    /// A segment register: its cached base counts, whatever its selector says.
    case register(SegmentName)
}
