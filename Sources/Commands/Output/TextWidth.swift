/// How many columns of a terminal a scalar takes: 0 for marks that join the one before, 2 for wide ones, 1 for the rest.
///
/// Source: Unicode's EastAsianWidth.txt (W and F), in blocks; enough for file names and typed text.
public func cellWidth(_ scalar: Unicode.Scalar) -> Int {
    switch scalar.value {
    case 0..<0x300: 1
    case 0x300..<0x370, 0x200B...0x200F, 0xFE00...0xFE0F, 0xFE20...0xFE2F: 0
    case 0x1100..<0x1160, 0x2E80..<0x303F, 0x3041..<0xA4D0, 0xAC00..<0xD7A4, 0xF900..<0xFB00,
        0xFE30..<0xFE70, 0xFF01..<0xFF61, 0xFFE0..<0xFFE7, 0x1F300..<0x1F650, 0x1F900..<0x1FA00,
        0x20000..<0x3FFFE:
        2
    default: 1
    }
}

extension StringProtocol {
    /// How many columns of a terminal the text takes.
    public var columns: Int {
        utf8.allSatisfy { $0 < 0x80 } ? utf8.count : unicodeScalars.reduce(0) { $0 + cellWidth($1) }
    }
}
