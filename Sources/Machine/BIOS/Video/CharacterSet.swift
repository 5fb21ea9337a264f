/// The fonts of the BIOS: code page 437, eight dots wide, 8, 14 and 16 lines high.
///
/// The taller ones are the one of eight lines, stretched.
enum CharacterSet {
    /// 256 characters of `height` bytes; in a byte the highest bit is the leftmost dot.
    static func font(height: Int) -> [UInt8] {
        (UInt8.min...UInt8.max).flatMap { code in
            let rows = rows(code)
            return (0..<height).map { rows[$0 * 8 / height] }
        }
    }

    /// Eight rows.
    private static func rows(_ code: UInt8) -> [UInt8] {
        switch code {
        case 0x00, 0xFF: return [UInt8](repeating: 0, count: 8)
        case 0xB0: return shade(0x22, 0x88)
        case 0xB1: return shade(0x55, 0xAA)
        case 0xB2: return shade(0xDD, 0x77)
        case 0xDB: return [UInt8](repeating: 0xFF, count: 8)
        case 0xDC: return halves(0, 0xFF)
        case 0xDD: return [UInt8](repeating: 0xF0, count: 8)
        case 0xDE: return [UInt8](repeating: 0x0F, count: 8)
        case 0xDF: return halves(0xFF, 0)
        case 0xFE: return [0, 0, 0x3C, 0x3C, 0x3C, 0x3C, 0, 0]
        case 0xB3...0xDA: return box(code)
        default: return placed(glyph(code))
        }
    }

    private static func shade(_ even: UInt8, _ odd: UInt8) -> [UInt8] {
        (0..<8).map { $0 % 2 == 0 ? even : odd }
    }

    private static func halves(_ upper: UInt8, _ lower: UInt8) -> [UInt8] {
        (0..<8).map { $0 < 4 ? upper : lower }
    }

    private static func glyph(_ code: UInt8) -> UInt64 {
        switch code {
        case 0x01...0x1F: return Glyphs.symbols[Int(code) - 1]
        case 0x20...0x7E: return Glyphs.ascii[Int(code) - 0x20]
        case 0x7F: return Glyphs.symbols[31]
        default: break
        }
        if let made = Glyphs.accented[code], let base = made.base.asciiValue {
            return marked(Glyphs.ascii[Int(base) - 0x20], made.mark, isCapital: made.base.isUppercase)
        }
        return Glyphs.others[code] ?? 0
    }

    /// Puts a mark into the two topmost rows. A small letter leaves them empty, but for an i's dot; a capital loses two of
    /// its rows, and moves down.
    private static func marked(_ letter: UInt64, _ mark: UInt16, isCapital: Bool) -> UInt64 {
        let top = UInt64(mark) << 48
        guard isCapital else { return letter & 0x0000_FFFF_FFFF_FFFF | top }
        let rows = (0..<8).map { letter >> UInt64(56 - $0 * 8) & 0xFF }
        let kept = [rows[0], rows[1], rows[3], rows[4], rows[6]]
        return kept.enumerated().reduce(top) { $0 | $1.element << UInt64(40 - $1.offset * 8) }
    }

    /// In the middle of eight dots.
    private static func placed(_ glyph: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: glyph >> UInt64(56 - $0 * 8)) << 2 & 0xFC }
    }

    // MARK: boxes

    /// What leads to each side of B3h to DAh, up, down, left and right: 0 nothing, 1 a line, 2 two.
    private static let boxes: [(UInt8, UInt8, UInt8, UInt8)] = [
        (1, 1, 0, 0), (1, 1, 1, 0), (1, 1, 2, 0), (2, 2, 1, 0), (0, 2, 1, 0), (0, 1, 2, 0), (2, 2, 2, 0),
        (2, 2, 0, 0), (0, 2, 2, 0), (2, 0, 2, 0), (2, 0, 1, 0), (1, 0, 2, 0), (0, 1, 1, 0), (1, 0, 0, 1),
        (1, 0, 1, 1), (0, 1, 1, 1), (1, 1, 0, 1), (0, 0, 1, 1), (1, 1, 1, 1), (1, 1, 0, 2), (2, 2, 0, 1),
        (2, 0, 0, 2), (0, 2, 0, 2), (2, 0, 2, 2), (0, 2, 2, 2), (2, 2, 0, 2), (0, 0, 2, 2), (2, 2, 2, 2),
        (1, 0, 2, 2), (2, 0, 1, 1), (0, 1, 2, 2), (0, 2, 1, 1), (2, 0, 0, 1), (1, 0, 0, 2), (0, 1, 0, 2),
        (0, 2, 0, 1), (2, 2, 1, 1), (1, 1, 2, 2), (1, 0, 1, 0), (0, 1, 0, 1),
    ]

    /// Where one line is, and the two of a pair.
    private static func places(_ lines: UInt8) -> [Int] { lines == 2 ? [2, 5] : lines == 1 ? [3] : [] }

    private static func box(_ code: UInt8) -> [UInt8] {
        let (up, down, left, right) = boxes[Int(code) - 0xB3]
        var rows = [UInt8](repeating: 0, count: 8)
        func dot(_ x: Int, _ y: Int) { rows[y] |= 0x80 >> UInt8(x) }
        let columns = places(max(up, down))
        let lines = places(max(left, right))
        // A line goes on to the farther line of those that it meets.
        for x in columns {
            if up > 0 { for y in 0...(lines.last ?? 3) { dot(x, y) } }
            if down > 0 { for y in (lines.first ?? 3)..<8 { dot(x, y) } }
        }
        for y in lines {
            if left > 0 { for x in 0...(columns.last ?? 3) { dot(x, y) } }
            if right > 0 { for x in (columns.first ?? 3)..<8 { dot(x, y) } }
        }
        return rows
    }
}
