import Glibc

/// What a symbolic link points to.
enum LinkTarget {
    /// Nil if it cannot be read.
    static func read(_ path: String) -> String? {
        let bytes = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            // SAFETY: readlink fills at most as many bytes as the buffer has, and says how many.
            count = buffer.withMemoryRebound(to: CChar.self) { text in
                guard let start = text.baseAddress else { return 0 }
                return max(0, readlink(path, start, text.count))
            }
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }
}
