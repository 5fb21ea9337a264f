/// The value of a hexadecimal digit, in either case.
func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// The digit of a value's low four bits.
func hexDigit(_ value: UInt8) -> UInt8 {
    let digit = value & 0xF
    return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
}

/// The two digits of each byte, the first in the low eight bits.
private let digitPairs: [UInt16] = (0...255).map { byte in
    UInt16(hexDigit(UInt8(byte) >> 4)) | UInt16(hexDigit(UInt8(byte))) << 8
}

/// Two digits a byte, in the order of the bytes.
package func hexText(_ bytes: some Collection<UInt8>) -> [UInt8] {
    bytes.withContiguousStorageIfAvailable(hexText(of:))
        ?? Array(bytes).withUnsafeBufferPointer(hexText(of:))
}

private func hexText(of bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    digitPairs.withUnsafeBufferPointer { pairs in
        [UInt8](unsafeUninitializedCapacity: bytes.count * 2) { buffer, filled in
            var place = 0
            for byte in bytes {
                // SAFETY: there is a pair for each byte, and room for two digits of each.
                let pair = pairs[Int(byte)]
                buffer[place] = UInt8(truncatingIfNeeded: pair)
                buffer[place &+ 1] = UInt8(truncatingIfNeeded: pair >> 8)
                place &+= 2
            }
            filled = place
        }
    }
}

/// The bytes of an even number of digits; nil for anything else.
package func hexBytes(_ digits: some Collection<UInt8>) -> [UInt8]? {
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(digits.count / 2)
    var high: UInt8?
    for digit in digits {
        guard let value = hexValue(digit) else { return nil }
        if let first = high {
            bytes.append(first << 4 | value)
            high = nil
        } else {
            high = value
        }
    }
    return bytes
}

/// A number as the protocol writes it: hexadecimal, the highest digit first, without `0x`.
func hexNumber(_ value: some BinaryInteger) -> String { String(value, radix: 16) }
