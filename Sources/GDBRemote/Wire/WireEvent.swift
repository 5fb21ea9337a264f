/// What arrives on a connection, piece by piece.
package enum WireEvent: Sendable, Hashable {
    /// A packet's data, unescaped; its checksum was right, or is not asked for.
    case packet([UInt8])
    /// The byte 0x03 between packets: the guest is to stop.
    case interrupt
    /// `+`: the last packet arrived.
    case acknowledged
    /// `-`: the last packet is to be sent again.
    case resend
    /// A packet whose checksum is wrong, or no number.
    case damaged
    /// A packet of more than the announced size; it was dropped as it came.
    case tooLong
    /// What speaks there speaks no remote protocol: a web browser, say.
    case stranger
}
