/// Puts data into packets.
package enum PacketEncoder {
    /// The shortest run that is shorter when it is counted.
    private static let shortestRun = 4
    /// 126 is the last printable character: so many more than the first.
    private static let longestRun = 97

    /// `$DATA#SS`, as it is sent: memory of megabytes goes through here, so each byte is looked at once.
    /// - Parameter countsRuns: for text, of which much is equal; bytes of memory are sent as they are.
    package static func packet(_ data: [UInt8], countsRuns: Bool = false) -> [UInt8] {
        // Each byte may be two, and the frame has four.
        [UInt8](unsafeUninitializedCapacity: data.count * 2 + 4) { buffer, filled in
            var writer = Writer(buffer: buffer)
            data.withUnsafeBufferPointer { data in
                if countsRuns { writer.putCounted(data) } else { writer.put(data) }
            }
            filled = writer.close()
        }
    }

    @inline(__always) private static func isSpecial(_ byte: UInt8) -> Bool {
        byte == 0x23 || byte == 0x24 || byte == 0x2A || byte == 0x7D
    }

    /// Fills a packet from the front.
    private struct Writer {
        // SAFETY: the buffer has room for two bytes for each byte of data, and four; it is used while it is lent.
        let buffer: UnsafeMutableBufferPointer<UInt8>
        private var place = 1
        private var sum: UInt8 = 0

        init(buffer: UnsafeMutableBufferPointer<UInt8>) {
            self.buffer = buffer
            buffer[0] = UInt8(ascii: "$")
        }

        @inline(__always) private mutating func put(_ byte: UInt8) {
            buffer[place] = byte
            place &+= 1
            sum &+= byte
        }

        /// What would end a packet, or change it, as `}` and the byte with bit 5 changed.
        @inline(__always) private mutating func putEscaped(_ byte: UInt8) {
            if PacketEncoder.isSpecial(byte) {
                put(0x7D)
                put(byte ^ 0x20)
            } else {
                put(byte)
            }
        }

        mutating func put(_ data: UnsafeBufferPointer<UInt8>) {
            for byte in data { putEscaped(byte) }
        }

        /// Runs of a character as the character, `*`, and how many more, from 29 up.
        mutating func putCounted(_ data: UnsafeBufferPointer<UInt8>) {
            var start = 0
            while start < data.count {
                let byte = data[start]
                var end = start &+ 1
                while end < data.count, data[end] == byte { end &+= 1 }
                var count = end &- start
                start = end
                if count >= PacketEncoder.shortestRun, !PacketEncoder.isSpecial(byte) {
                    count = putRun(of: byte, count)
                }
                while count > 0 {
                    putEscaped(byte)
                    count &-= 1
                }
            }
        }

        /// How many are left.
        private mutating func putRun(of byte: UInt8, _ count: Int) -> Int {
            var count = count
            while count >= PacketEncoder.shortestRun {
                var more = min(count - 1, PacketEncoder.longestRun)
                // `#` and `$` would end the packet, and `+` and `-` be taken for acknowledgements.
                while more == 6 || more == 7 || more == 14 || more == 16 { more -= 1 }
                put(byte)
                put(UInt8(ascii: "*"))
                put(UInt8(more + 29))
                count -= more + 1
            }
            return count
        }

        /// The sum; how many bytes the packet has.
        mutating func close() -> Int {
            buffer[place] = UInt8(ascii: "#")
            buffer[place + 1] = hexDigit(sum >> 4)
            buffer[place + 2] = hexDigit(sum)
            return place + 3
        }
    }
}
