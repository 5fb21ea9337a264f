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
