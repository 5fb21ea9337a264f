import DebugTarget

/// The characters of a screen in the guest's memory, as INT 10h works on them: cells, or in a graphics mode dots. The data area says how large it is; a guest may have
/// written anything there, so that all of it is held within bounds.
struct TextScreen {
    private let memory: BIOSMemory
    private let adapter: TextAdapter
    let columns: Int
    let rows: Int
    private let pageSize: Int
    /// Characters are drawn.
    let graphics: GraphicsScreen?
    /// Nothing can be put on it: a graphics mode whose dots lie in planes.
    let isBlind: Bool

    init(_ memory: BIOSMemory, _ adapter: TextAdapter) {
        self.memory = memory
        self.adapter = adapter
        let mode = adapter.mode
        graphics = GraphicsScreen(memory, mode)
        isBlind = mode.layout == .planes
        let columns = Int(memory.word(BIOSData.columns) ?? 80)
        self.columns = (1...132).contains(columns) ? columns : 80
        rows = min(Int(memory.byte(BIOSData.lastRow) ?? 24) + 1, 60)
        let size = Int(memory.word(BIOSData.pageSize) ?? 0x1000)
        pageSize = (1...0x8000).contains(size) ? size : 0x1000
    }

    /// The page that is shown.
    var page: Int { Int(memory.byte(BIOSData.page) ?? 0) & 7 }

    private func address(_ page: Int, _ row: Int, _ column: Int) -> UInt64 {
        BIOSData.screen + UInt64(((page & 7) * pageSize + (row * columns + column) * 2) & 0x7FFF)
    }

    func cursor(_ page: Int) -> (row: Int, column: Int) {
        let word = memory.word(BIOSData.cursors + UInt64(page & 7) * 2) ?? 0
        return (Int(word >> 8), Int(word & 0xFF))
    }

    func setCursor(_ page: Int, row: Int, column: Int) {
        memory.setWord(
            BIOSData.cursors + UInt64(page & 7) * 2,
            UInt16(truncatingIfNeeded: row & 0xFF) << 8 | UInt16(truncatingIfNeeded: column & 0xFF))
        guard page == self.page, graphics == nil, !isBlind else { return }
        adapter.setCursor(page * pageSize / 2 + row * columns + column)
    }

    func select(_ page: Int) {
        memory.setByte(BIOSData.page, UInt8(page & 7))
        let start = (page & 7) * pageSize
        memory.setWord(BIOSData.pageStart, UInt16(truncatingIfNeeded: start))
        adapter.setStart(start / 2)
        let (row, column) = cursor(page)
        setCursor(page & 7, row: row, column: column)
    }

    /// Character and attribute; nil outside, and among dots.
    func cell(_ page: Int, row: Int, column: Int) -> UInt16? {
        guard graphics == nil, !isBlind, (0..<rows).contains(row), (0..<columns).contains(column) else {
            return nil
        }
        return memory.word(address(page, row, column))
    }

    /// - Parameter attribute: nil leaves what there is; of dots it is their colour.
    func put(_ page: Int, row: Int, column: Int, _ character: UInt8, _ attribute: UInt8?) {
        if isBlind { return }
        if let graphics { return graphics.draw(character, row: row, column: column, attribute ?? 0x07) }
        guard (0..<rows).contains(row), (0..<columns).contains(column) else { return }
        let place = address(page, row, column)
        memory.setByte(place, character)
        if let attribute { memory.setByte(place + 1, attribute) }
    }

    func clear(_ page: Int, _ attribute: UInt8 = 0x07) {
        scroll(page, by: 0, rows: 0...rows - 1, columns: 0...columns - 1, attribute, up: true)
    }

    /// Moves a window up or down; 0 lines clear it.
    func scroll(
        _ page: Int, by lines: Int, rows window: ClosedRange<Int>, columns span: ClosedRange<Int>,
        _ attribute: UInt8, up: Bool
    ) {
        if isBlind { return }
        if let graphics {
            return graphics.scroll(by: lines, rows: window, columns: span, attribute, up: up)
        }
        let height = window.count
        let lines = lines == 0 ? height : min(lines, height)
        let blank = (0..<span.count).flatMap { _ in [0x20, attribute] as [UInt8] }
        for step in 0..<height {
            let row = up ? window.lowerBound + step : window.upperBound - step
            let source = up ? row + lines : row - lines
            var line = blank
            if window.contains(source) {
                line =
                    memory.bytes(address(page, source, span.lowerBound), count: span.count * 2) ?? blank
            }
            memory.write(address(page, row, span.lowerBound), line)
        }
    }

    /// Writes a character as a terminal does, at a cursor that it moves.
    func type(_ character: UInt8, _ attribute: UInt8?, _ page: Int, _ cursor: inout (row: Int, column: Int)) {
        switch character {
        // A bell is not heard.
        case 0x07: return
        case 0x08: cursor.column = max(0, cursor.column - 1)
        case 0x0A: cursor.row += 1
        case 0x0D: cursor.column = 0
        default:
            put(page, row: cursor.row, column: cursor.column, character, attribute)
            cursor.column += 1
            if cursor.column >= columns {
                cursor.column = 0
                cursor.row += 1
            }
        }
        if cursor.row >= rows {
            // The new line has the colours of the last one.
            let colours = cell(page, row: rows - 1, column: min(cursor.column, columns - 1)).map {
                UInt8($0 >> 8)
            }
            scroll(
                page, by: 1, rows: 0...rows - 1, columns: 0...columns - 1,
                colours ?? (graphics == nil ? 0x07 : 0), up: true)
            cursor.row = rows - 1
        }
    }
}
