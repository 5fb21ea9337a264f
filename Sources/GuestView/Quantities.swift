/// `999`, `12.3k`, `4.5M`, `7.8G`: five cells at most.
package func count(_ value: UInt64) -> String {
    if value < 10_000 { return String(value) }
    var scaled = Double(value)
    for suffix in ["k", "M", "G", "T", "P"] {
        scaled /= 1_000
        if scaled < 999.95 || suffix == "P" { return tenths(scaled) + suffix }
    }
    return String(value)
}

package func rate(_ value: Double) -> String {
    guard value.isFinite, value > 0 else { return "0" }
    return value < 10 ? tenths(value) : count(UInt64(min(value.rounded(), 1e19)))
}

/// One digit after the point.
package func tenths(_ value: Double) -> String {
    let all = Int((value * 10).rounded())
    return "\(all / 10).\(all % 10)"
}

/// Nanoseconds as `350ns`, `7.5us`, `12.0ms`, `3.2s`.
package func time(_ nanoseconds: UInt64) -> String {
    switch nanoseconds {
    case 0..<1_000: "\(nanoseconds)ns"
    case 0..<1_000_000: tenths(Double(nanoseconds) / 1e3) + "us"
    case 0..<1_000_000_000: tenths(Double(nanoseconds) / 1e6) + "ms"
    default: tenths(Double(nanoseconds) / 1e9) + "s"
    }
}
