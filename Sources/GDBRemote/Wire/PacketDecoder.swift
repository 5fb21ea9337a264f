/// Takes the bytes of a connection apart: `$DATA#SS`, acknowledgements, and interrupts.
///
/// It keeps one packet at most, and no more of it than `limit` bytes: what is longer is dropped while it comes.
/// Source: GDB's manual, "Overview" of the remote serial protocol.
package struct PacketDecoder: Sendable {
    private enum State {
        /// Nothing has come yet.
        case silent
        case between
        case data
        case firstDigit
        case secondDigit(UInt8?)
    }

    /// Of a packet's data, in bytes as they are sent.
    package let limit: Int
    /// Without acknowledgements nobody would send a packet again, so that its checksum is not looked at.
    package var checks = true
    /// Replies have runs of equal characters, `0* `; requests may have `*` as itself.
    package let expandsRuns: Bool

    private var state = State.silent
    private var data: [UInt8] = []
    private var sum: UInt8 = 0
    private var isTooLong = false

    package init(limit: Int, expandsRuns: Bool = false) {
        self.limit = limit
        self.expandsRuns = expandsRuns
    }

    /// The events that `bytes` complete, in order. Nothing comes after a stranger.
    package mutating func feed(_ bytes: some Sequence<UInt8>) -> [WireEvent] {
        var events: [WireEvent] = []
        for byte in bytes {
            guard let event = take(byte) else { continue }
            events.append(event)
            if event == .stranger { break }
        }
        return events
    }

    private mutating func take(_ byte: UInt8) -> WireEvent? {
        switch state {
        case .silent:
            guard [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "$"), 3].contains(byte) else {
                return .stranger
            }
            state = .between
            return take(byte)
        case .between:
            switch byte {
            case UInt8(ascii: "$"): begin()
            case UInt8(ascii: "+"): return .acknowledged
            case UInt8(ascii: "-"): return .resend
            case 3: return .interrupt
            // As every stub does: what stands between packets is noise of the line.
            default: break
            }
            return nil
        case .data:
            switch byte {
            case UInt8(ascii: "#"): state = .firstDigit
            // The end of the packet before was lost.
            case UInt8(ascii: "$"): begin()
            default:
                sum &+= byte
                if data.count < limit {
                    data.append(byte)
                } else if !isTooLong {
                    isTooLong = true
                    data = []
                }
            }
            return nil
        case .firstDigit:
            state = .secondDigit(hexValue(byte))
            return nil
        case .secondDigit(let high):
            state = .between
            let low = hexValue(byte)
            defer { data = [] }
            if isTooLong { return .tooLong }
            if checks {
                guard let high, let low, high << 4 | low == sum else { return .damaged }
            }
            guard let plain = Self.unescaped(data, expandsRuns: expandsRuns, limit: limit) else {
                return .damaged
            }
            return .packet(plain)
        }
    }

    private mutating func begin() {
        state = .data
        data.removeAll(keepingCapacity: true)
        sum = 0
        isTooLong = false
    }

    /// Without escapes and runs; nil for one that ends within them, or that grows beyond `limit`.
    private static func unescaped(_ data: [UInt8], expandsRuns: Bool, limit: Int) -> [UInt8]? {
        let special = data.contains { $0 == 0x7D || (expandsRuns && $0 == UInt8(ascii: "*")) }
        guard special else { return data }
        var plain: [UInt8] = []
        plain.reserveCapacity(data.count)
        var place = 0
        while place < data.count {
            let byte = data[place]
            place += 1
            if byte == 0x7D {
                guard place < data.count else { return nil }
                plain.append(data[place] ^ 0x20)
                place += 1
            } else if expandsRuns, byte == UInt8(ascii: "*") {
                guard place < data.count, let last = plain.last, data[place] >= 29 else { return nil }
                let count = Int(data[place]) - 29
                guard plain.count + count <= limit else { return nil }
                plain.append(contentsOf: repeatElement(last, count: count))
                place += 1
            } else {
                plain.append(byte)
            }
        }
        return plain
    }
}
