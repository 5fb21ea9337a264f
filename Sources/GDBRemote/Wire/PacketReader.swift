/// Reads a packet's data from the front.
struct PacketReader {
    private let bytes: [UInt8]
    private(set) var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { place >= bytes.count }
    var next: UInt8? { isAtEnd ? nil : bytes[place] }

    /// What is left.
    var rest: ArraySlice<UInt8> { bytes[min(place, bytes.count)...] }
    var restText: String { String(decoding: rest, as: UTF8.self) }

    /// Takes `text`, if it stands here.
    mutating func skip(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        // SAFETY: a static string's bytes live as long as the program.
        let wanted = UnsafeBufferPointer(start: text.utf8Start, count: count)
        guard bytes[place...].starts(with: wanted) else { return false }
        place += count
        return true
    }

    mutating func take() -> UInt8? {
        guard let byte = next else { return nil }
        place += 1
        return byte
    }

    /// Passes over bytes that were looked at in ``rest``.
    mutating func advance(by count: Int) { place = min(place + count, bytes.count) }

    /// A number of 1 to 16 hexadecimal digits; nil where there is none, or a longer one that is no 64-bit number.
    mutating func number() -> UInt64? {
        var value: UInt64 = 0
        let start = place
        while let byte = next, let digit = hexValue(byte) {
            guard value >> 60 == 0 else { return nil }
            value = value << 4 | UInt64(digit)
            place += 1
        }
        return place > start ? value : nil
    }

    /// Up to one of `ends`, which is not taken, or the end.
    mutating func word(until ends: StaticString) -> String {
        // SAFETY: a static string's bytes live as long as the program.
        let ends = UnsafeBufferPointer(start: ends.utf8Start, count: ends.utf8CodeUnitCount)
        let start = place
        while let byte = next, !ends.contains(byte) { place += 1 }
        return String(decoding: bytes[start..<place], as: UTF8.self)
    }

    /// A thread: 0 for any, nil for all; a process before it, as `p1.2`, is passed over.
    mutating func thread() -> ThreadChoice? {
        if skip("p") {
            guard skip("-1") || number() != nil else { return nil }
            guard skip(".") else { return .all }
        }
        if skip("-1") { return .all }
        guard let number = number() else { return nil }
        guard number > 0 else { return .any }
        guard let thread = Int(exactly: number) else { return nil }
        return .one(thread)
    }
}

/// Which threads a packet is about. Thread N is vCPU N - 1, as 0 means any.
enum ThreadChoice: Equatable {
    case all
    case any
    case one(Int)
}
