/// Little-endian numbers in bytes that nobody vouches for: nil where they are not all there.
extension Collection where Element == UInt8, Index == Int {
    /// `T` from `offset` bytes after the first on.
    func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, at offset: Int) -> T? {
        let size = T.bitWidth / 8
        guard offset >= 0, offset <= count, count - offset >= size else { return nil }
        return (0..<size).reduce(T(0)) { value, place in
            value | T(self[startIndex + offset + place]) << T(place * 8)
        }
    }

    func byte(at offset: Int) -> UInt8? { number(UInt8.self, at: offset) }
    func word(at offset: Int) -> UInt16? { number(UInt16.self, at: offset) }
    func long(at offset: Int) -> UInt32? { number(UInt32.self, at: offset) }
    func quad(at offset: Int) -> UInt64? { number(UInt64.self, at: offset) }
}

extension [UInt8] {
    /// Appends a number, the lowest byte first.
    mutating func append<T: FixedWidthInteger & UnsignedInteger>(number: T) {
        for place in 0..<T.bitWidth / 8 { append(UInt8(truncatingIfNeeded: number >> T(place * 8))) }
    }

    /// Overwrites a number where all of it fits; what does not fit is a mistake of the caller.
    mutating func put<T: FixedWidthInteger & UnsignedInteger>(_ number: T, at offset: Int) {
        for place in 0..<T.bitWidth / 8 {
            self[offset + place] = UInt8(truncatingIfNeeded: number >> T(place * 8))
        }
    }
}
