/// A number that people read in hexadecimal. In JSON it is the string "0x…" without leading zeros, as JSON
/// numbers lose bits beyond 2^53 in many readers.
public struct Hex: Sendable, Hashable, Encodable, CustomStringConvertible {
    public var value: UInt64
    public init(_ value: some BinaryInteger) { self.value = UInt64(truncatingIfNeeded: value) }

    public var description: String { "0x" + String(value, radix: 16) }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    /// Lower-case digits without a prefix, zero-padded to `width`.
    public static func digits(_ value: some BinaryInteger, width: Int = 0) -> String {
        let digits = String(UInt64(truncatingIfNeeded: value), radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// Digits with the prefix, zero-padded to `width` digits.
    public static func padded(_ value: some BinaryInteger, width: Int) -> String {
        "0x" + digits(value, width: width)
    }

    /// Bytes as pairs of digits without a separator.
    public static func bytes(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { digits($0, width: 2) }.joined()
    }
}

/// Nanoseconds as people read them: four digits at most and a unit.
func shortTime(_ nanoseconds: UInt64) -> String {
    let units: [(scale: UInt64, name: String)] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
    for unit in units where nanoseconds >= unit.scale {
        let whole = nanoseconds / unit.scale
        let rest = nanoseconds % unit.scale
        if whole >= 1000 { return "\(whole) \(unit.name)" }
        let tenth = rest * 10 / unit.scale
        let hundredth = rest * 100 / unit.scale
        return switch whole {
        case 100...: "\(whole) \(unit.name)"
        case 10...: "\(whole).\(tenth) \(unit.name)"
        default: "\(whole).\(hundredth < 10 ? "0" : "")\(hundredth) \(unit.name)"
        }
    }
    return "\(nanoseconds) ns"
}

/// An amount of bytes with the largest unit that keeps it whole.
func shortSize(_ bytes: UInt64) -> String {
    for (shift, unit) in [(UInt64(30), "GiB"), (20, "MiB"), (10, "KiB")]
    where bytes >= 1 << shift && bytes & ((1 << shift) - 1) == 0 {
        return "\(bytes >> shift) \(unit)"
    }
    return "\(bytes) B"
}

/// A whole number with a comma between groups of three digits.
package func grouped(_ number: some BinaryInteger) -> String {
    let digits = String(number)
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { result.append(",") }
        result.append(digit)
    }
    return result
}

/// "1 exit", "2 exits".
func counted(_ number: some BinaryInteger, _ noun: String) -> String {
    "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
}

extension Duration {
    /// In whole nanoseconds; a time that does not fit is the largest.
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (scaled, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : scaled &+ UInt64(attoseconds / 1_000_000_000)
    }
}
