/// As 0x7c00.
package func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }

/// `0x` and lower-case digits, padded with zeros to `digits`.
public func hexadecimal(_ value: UInt64, digits: Int = 1) -> String {
    "0x" + hexDigits(value, digits: digits)
}

/// Lower-case digits without a prefix, padded with zeros to `digits`.
public func hexDigits(_ value: UInt64, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(digits - text.utf8.count, 0)) + text
}
