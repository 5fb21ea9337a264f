/// CRC-32 of ISO-HDLC, as zip and Ethernet have it: polynomial 0x04C11DB7 reflected, all bits set at the start and flipped at
/// the end. Eight bytes at a time.
enum Checksum {
    /// Eight tables: of a byte, and of that byte with one to seven zeros after it.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
            tables[byte] = value
        }
        for table in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(table - 1) * 256 + byte]
                tables[table * 256 + byte] = before >> 8 ^ tables[Int(before & 0xFF)]
            }
        }
        return tables
    }()

    static func crc32(_ bytes: UnsafeRawBufferPointer, after earlier: UInt32 = 0) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            func entry(_ table: Int, _ word: UInt64, _ place: UInt64) -> UInt32 {
                tables[table << 8 | Int(truncatingIfNeeded: word >> (place * 8) & 0xFF)]
            }
            var value = ~earlier
            var at = 0
            while at + 8 <= bytes.count {
                let word = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ UInt64(value)
                value =
                    entry(7, word, 0) ^ entry(6, word, 1) ^ entry(5, word, 2) ^ entry(4, word, 3)
                    ^ entry(3, word, 4) ^ entry(2, word, 5) ^ entry(1, word, 6) ^ entry(0, word, 7)
                at += 8
            }
            while at < bytes.count {
                value = value >> 8 ^ tables[Int((value ^ UInt32(bytes[at])) & 0xFF)]
                at += 1
            }
            return ~value
        }
    }

    static func crc32(_ bytes: [UInt8], after earlier: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { crc32($0, after: earlier) }
    }
}
