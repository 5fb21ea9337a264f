import Commands
import GuestView

/// Draws into one rectangle of a screen: nothing lands outside it. Places are relative to the rectangle.
struct Brush: ~Copyable {
    private(set) var screen: Screen
    private(set) var area: Rect
    /// Where the next ``put(_:_:)`` draws.
    private(set) var x = 0
    private(set) var y = 0
    /// The values of this rectangle that can be edited.
    var fields: [Field] = []

    /// Stands at the end of a row whose text goes on.
    static let cut: UInt32 = 0x2026

    init(_ screen: consuming Screen, _ area: Rect) {
        self.screen = screen
        self.area = area
    }

    /// Gives the screen back.
    consuming func finish() -> Screen { screen }

    var width: Int { area.width }
    var height: Int { area.height }
    /// Columns left on this row.
    var room: Int { area.width - x }

    /// Draws into another rectangle from now on.
    mutating func move(to area: Rect) {
        self.area = area
        x = 0
        y = 0
        fields.removeAll(keepingCapacity: true)
    }

    mutating func go(_ x: Int, _ y: Int) {
        self.x = x
        self.y = y
    }

    /// One cell, and one column on.
    mutating func put(scalar: UInt32, _ look: Look = .plain) {
        if x >= 0, x < area.width, y >= 0, y < area.height {
            screen[area.x + x, area.y + y] = Cell(scalar, look)
        } else if x >= area.width, scalar != 0x20, scalar != 0, y >= 0, y < area.height {
            // Something has no room: that is said where it begins.
            screen[area.maxX - 1, area.y + y] = Cell(Self.cut, .dim)
        }
        x += 1
    }

    /// Text; what would drive a terminal is shown by number.
    mutating func put(_ text: String, _ look: Look = .plain) {
        // Most text is plain ASCII: no scalar has to be put together then.
        var text = text
        let isPlain = text.withUTF8 { bytes in
            guard bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return false }
            for byte in bytes { put(scalar: UInt32(byte), look) }
            return true
        }
        if isPlain { return }
        for scalar in text.printable.unicodeScalars {
            switch cellWidth(scalar) {
            case 0: continue
            case 2 where x + 1 < area.width:
                put(scalar: scalar.value, look)
                put(scalar: 0, look)
            case 2: put(scalar: 0x3F, look)
            default: put(scalar: scalar.value, look)
            }
        }
    }

    mutating func put(_ text: StaticString, _ look: Look = .plain) {
        for byte in UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount) {
            put(scalar: UInt32(byte), look)
        }
    }

    /// The low `digits` hexadecimal digits.
    mutating func put(hex value: UInt64, digits: Int, _ look: Look = .plain) {
        for place in stride(from: digits - 1, through: 0, by: -1) {
            let nibble = UInt32(truncatingIfNeeded: value >> UInt64(place * 4)) & 0xF
            put(scalar: nibble < 10 ? 0x30 + nibble : 0x57 + nibble, look)
        }
    }

    /// Text that ends at column `end`.
    mutating func put(_ text: String, endingAt end: Int, _ look: Look = .plain) {
        x = end - text.utf8.count
        put(text, look)
    }

    mutating func skip(_ columns: Int) { x += columns }

    /// Blanks up to `column`.
    mutating func pad(to column: Int, _ look: Look = .plain) {
        while x < column { put(scalar: 0x20, look) }
    }

    /// Remembers that the cells from `start` on this row up to here are a field.
    mutating func field(_ kind: Field.Kind, from start: Int) {
        guard start >= 0, x <= area.width, y >= 0, y < area.height else { return }
        fields.append(Field(kind: kind, x: start, y: y, width: x - start))
    }

    mutating func add(_ attributes: Look.Attributes, from start: Int, to end: Int, row: Int) {
        guard row >= 0, row < area.height else { return }
        screen.add(
            attributes, y: area.y + row, from: area.x + max(0, start), to: area.x + min(end, area.width))
    }

    /// Draws on the whole screen, for what lies between panes.
    mutating func onScreen(_ x: Int, _ y: Int, _ cell: Cell) { screen[x, y] = cell }
    func cell(onScreen x: Int, _ y: Int) -> Cell { screen[x, y] }
    mutating func setCursor(onScreen point: Screen.Point?) { screen.cursor = point }
    /// Where a place of this rectangle is on the screen.
    func point(_ x: Int, _ y: Int) -> Screen.Point { Screen.Point(x: area.x + x, y: area.y + y) }
}
