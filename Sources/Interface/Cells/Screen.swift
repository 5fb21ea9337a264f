/// A grid of cells, and where the cursor stands: all that a terminal needs to know.
public struct Screen: Sendable, Hashable {
    public let size: Size
    /// Row by row; always `width * height` of them.
    public private(set) var cells: [Cell]
    /// Nil hides the cursor.
    public var cursor: Point?

    public struct Point: Sendable, Hashable {
        public var x: Int
        public var y: Int
        public init(x: Int, y: Int) {
            self.x = x
            self.y = y
        }
    }

    /// A blank screen; a negative size is none.
    public init(size: Size) {
        self.size = Size(width: max(0, size.width), height: max(0, size.height))
        cells = Array(repeating: .blank, count: self.size.width * self.size.height)
    }

    /// The cell at a place inside the screen; a blank one outside, and writes there are dropped.
    public subscript(x: Int, y: Int) -> Cell {
        get {
            guard x >= 0, y >= 0, x < size.width, y < size.height else { return .blank }
            return cells[y * size.width + x]
        }
        set {
            guard x >= 0, y >= 0, x < size.width, y < size.height else { return }
            cells[y * size.width + x] = newValue
        }
    }

    /// The characters of a row, blanks at its end cut.
    public func text(row y: Int) -> String {
        var text = String.UnicodeScalarView()
        for x in 0..<size.width {
            let scalar = self[x, y].scalar
            if scalar != 0 { text.append(Unicode.Scalar(scalar) ?? "?") }
        }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// Adds `attributes` to the cells of a row from `x` up to `end`.
    mutating func add(_ attributes: Look.Attributes, y: Int, from x: Int, to end: Int) {
        for column in max(0, x)..<max(0, x, min(end, size.width)) {
            self[column, y].look.attributes.formUnion(attributes)
        }
    }
}

/// How many cells a scalar takes: 0 for marks that join the one before, 2 for wide ones, 1 for the rest.
///
/// Source: Unicode's EastAsianWidth.txt (W and F), in blocks; enough for file names and typed text.
func cellWidth(_ scalar: Unicode.Scalar) -> Int {
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
