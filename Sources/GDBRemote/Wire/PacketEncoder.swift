/// Puts data into packets.
package enum PacketEncoder {
    /// The shortest run that is shorter when it is counted.
    private static let shortestRun = 4
    /// 126 is the last printable character: so many more than the first.
    private static let longestRun = 97

    /// `$DATA#SS`, as it is sent.
    /// - Parameter countsRuns: for text, of which much is equal; bytes of memory are sent as they are.
    package static func packet(_ data: [UInt8], countsRuns: Bool = false) -> [UInt8] {
        var body = escaped(data)
        if countsRuns { body = counted(body) }
        var sum: UInt8 = 0
        for byte in body { sum &+= byte }
        var packet: [UInt8] = []
        packet.reserveCapacity(body.count + 4)
        packet.append(UInt8(ascii: "$"))
        packet += body
        packet.append(UInt8(ascii: "#"))
        packet.append(hexDigit(sum >> 4))
        packet.append(hexDigit(sum))
        return packet
    }

    /// What would end a packet, or change it, as `}` and the byte with bit 5 changed.
    package static func escaped(_ data: [UInt8]) -> [UInt8] {
        guard data.contains(where: isSpecial) else { return data }
        var body: [UInt8] = []
        body.reserveCapacity(data.count + data.count / 16)
        for byte in data {
            if isSpecial(byte) {
                body.append(0x7D)
                body.append(byte ^ 0x20)
            } else {
                body.append(byte)
            }
        }
        return body
    }

    @inline(__always) private static func isSpecial(_ byte: UInt8) -> Bool {
        byte == 0x23 || byte == 0x24 || byte == 0x2A || byte == 0x7D
    }

    /// Runs of a character as the character, `*`, and how many more, from 29 up.
    private static func counted(_ body: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(body.count)
        var place = 0
        while place < body.count {
            let byte = body[place]
            var end = place + 1
            while end < body.count, body[end] == byte { end += 1 }
            var count = end - place
            // The byte after a `}` is no character of its own.
            let isEscaped = place > 0 && body[place - 1] == 0x7D
            while count >= shortestRun, !isEscaped, byte != 0x7D {
                var more = min(count - 1, longestRun)
                // `#` and `$` would end the packet, and `+` and `-` be taken for acknowledgements.
                while [6, 7, 14, 16].contains(more) { more -= 1 }
                result.append(byte)
                result.append(UInt8(ascii: "*"))
                result.append(UInt8(more + 29))
                count -= more + 1
            }
            for _ in 0..<count { result.append(byte) }
            place = end
        }
        return result
    }
}
