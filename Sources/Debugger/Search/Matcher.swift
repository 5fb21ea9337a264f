import CLinux

/// Finds a run of bytes in memory that comes piece by piece: also where it lies across two of them.
struct Matcher {
    let pattern: [UInt8]
    let limit: Int
    /// Where each match begins, in the order found; matches may overlap.
    private(set) var found: [UInt64] = []
    /// The end of what came before, shorter than the pattern, and the address after it.
    private var tail: [UInt8] = []
    private var next: UInt64 = 0

    /// - Parameter pattern: not empty.
    init(_ pattern: [UInt8], limit: Int) {
        self.pattern = pattern
        self.limit = limit
    }

    /// More was found than is wanted; the rest is of no interest.
    var isFull: Bool { found.count > limit }

    /// Takes the bytes at `address`; what came before counts where it ends there.
    mutating func feed(_ bytes: UnsafeRawBufferPointer, at address: UInt64) {
        let keep = pattern.count - 1
        let isNext = address == next && !tail.isEmpty
        if isNext {
            // All matches that begin in the tail end in the first bytes of this piece.
            let seam = tail + bytes.prefix(keep)
            let start = address &- UInt64(tail.count)
            seam.withUnsafeBytes { search($0, at: start) }
        }
        search(bytes, at: address)
        next = address &+ UInt64(bytes.count)
        if keep == 0 { return }
        if bytes.count >= keep {
            tail = Array(bytes.suffix(keep))
        } else {
            tail = Array(((isNext ? tail : []) + bytes).suffix(keep))
        }
    }

    private mutating func search(_ bytes: UnsafeRawBufferPointer, at address: UInt64) {
        guard let base = bytes.baseAddress else { return }
        pattern.withUnsafeBytes { pattern in
            var place = 0
            while place + pattern.count <= bytes.count, found.count <= limit {
                // SAFETY: from `place` on, so many bytes are left of the buffer; both outlive the call.
                let match = clinux_find(
                    base + place, bytes.count - place, pattern.baseAddress ?? base, pattern.count)
                guard let match else { return }
                let offset = match - base
                found.append(address &+ UInt64(offset))
                place = offset + 1
            }
        }
    }
}

/// CRC-32 as zip, PNG and Ethernet have it: polynomial 0xEDB88320, reflected.
struct CRC32 {
    private var state: UInt32 = ~0

    var value: UInt32 { ~state }

    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        var crc = state
        Self.tables.withUnsafeBufferPointer { tables in
            var place = 0
            // Eight bytes at once: each looks up what it is worth so far from the end.
            while place + 8 <= bytes.count {
                // SAFETY: eight bytes are left.
                let word = bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self) ^ UInt64(crc)
                crc = 0
                for byte in 0..<8 {
                    crc ^= tables[(7 - byte) << 8 | Int(truncatingIfNeeded: word >> UInt64(byte * 8) & 0xFF)]
                }
                place += 8
            }
            while place < bytes.count {
                crc = crc >> 8 ^ tables[Int(truncatingIfNeeded: (crc ^ UInt32(bytes[place])) & 0xFF)]
                place += 1
            }
        }
        state = crc
    }

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            tables[byte] = (0..<8).reduce(UInt32(byte)) { crc, _ in
                crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0)
            }
        }
        for table in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(table - 1) << 8 | byte]
                tables[table << 8 | byte] = before >> 8 ^ tables[Int(before & 0xFF)]
            }
        }
        return tables
    }()
}
