import CNcurses
public import Interface

/// The screen of the terminal on standard input and output, through ncurses.
///
/// One at a time in a process, for its main thread. However the process ends, the terminal is put back as
/// ``init(colours:)`` found it.
public final class Display {
    /// The size and the cells that the terminal has now.
    private var shown: (size: Size, cells: [Cell])?
    private var isOpen = true
    /// The colours are those for a light background.
    private var isLight = false
    /// None are used, whatever the terminal has.
    private var isPlain = false

    /// Takes the terminal: the alternate screen where it has one, raw keys, the mouse's wheel.
    /// - Parameter colours: false draws without, whatever the terminal has, as does NO_COLOR.
    public init(colours: Bool = true) throws(TerminalError) {
        let result = cncurses_open(colours ? 1 : 0)
        guard result == 0 else { throw Self.error(result, term: History.variable("TERM") ?? "") }
        choose(isLight: false)
    }

    /// Takes the colours for a light or a dark background; the next draw is a whole one.
    /// - Parameter plain: none at all.
    func choose(isLight: Bool, plain: Bool = false) {
        self.isLight = isLight
        isPlain = plain
        for role in Look.Role.allCases where cncurses_colours() > 0 {
            cncurses_pair(Self.pair(role), Int32(colour(of: role)), -1)
        }
        forget()
    }

    private func colour(of role: Look.Role) -> Int {
        isPlain ? -1 : Palette.colour(of: role, colours: Int(cncurses_colours()), isLight: isLight)
    }

    /// The terminal gives the mouse to the screen, or keeps it.
    func setMouse(_ isOn: Bool) { cncurses_mouse(isOn ? 1 : 0) }

    /// Bytes that were typed before the screen was there.
    func unget(_ bytes: [UInt8]) { for byte in bytes.reversed() { cncurses_unget(byte) } }

    deinit { close() }

    /// Gives the terminal back.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        cncurses_close()
    }

    /// What `cncurses_open` failed with, for people.
    static func error(_ result: Int32, term name: String) -> TerminalError {
        let kind = name.isEmpty ? "TERM is not set" : "TERM=\(name)"
        return switch -result {
        case 25:
            TerminalError("the screen needs a terminal on standard input and output")
        case 2:
            TerminalError(
                "\(kind): the terminal's description was not found; set TERM (as xterm) for the screen")
        case 95:
            TerminalError("\(kind): this terminal cannot move its cursor")
        default:
            TerminalError("cannot use the terminal (\(kind), errno \(-result))")
        }
    }

    private static func pair(_ role: Look.Role) -> Int32 { Int32(role.rawValue) + 1 }

    public var size: Size {
        Size(width: Int(cncurses_columns()), height: Int(cncurses_rows()))
    }

    /// The kernel's word on the terminal's size is taken; the next draw is a whole one.
    func resize() -> Size {
        cncurses_resize()
        forget()
        return size
    }

    /// The next draw is a whole one, whatever the terminal shows.
    public func forget() {
        shown = nil
        cncurses_forget()
    }

    /// Stops the process as Ctrl-Z does; returns when it goes on.
    public func suspend() {
        cncurses_suspend()
        shown = nil
    }

    /// Shows `screen`: only the cells that differ from what is shown are sent.
    public func draw(_ screen: Screen) {
        let earlier = shown.flatMap { $0.size == screen.size ? $0.cells : nil }
        let colours = Int(cncurses_colours())
        let hasColours = colours > 0
        // Where dim text has a colour of its own, the attribute would make it fainter still, and costs more to send.
        let isDimAColour = hasColours && colour(of: .dim) >= 0
        var cells = screen.cells
        Difference.settleBlanks(&cells, size: screen.size)
        var scalars: [UInt32] = []
        scalars.reserveCapacity(screen.size.width)
        Difference.forEachRun(cells, earlier, size: screen.size) { y, columns, look in
            let row = y * screen.size.width
            scalars.removeAll(keepingCapacity: true)
            for x in columns { scalars.append(cells[row + x].scalar) }
            var attributes = look.attributes
            if isDimAColour, look.role == .dim { attributes.remove(.dim) }
            // SAFETY: the array lives through the call, which reads `count` scalars.
            unsafe cncurses_put(
                Int32(y), Int32(columns.lowerBound), scalars, Int32(scalars.count),
                UInt32(attributes.rawValue), hasColours ? Self.pair(look.role) : 0)
        }
        shown = (screen.size, cells)
        if let cursor = screen.cursor {
            cncurses_cursor(Int32(cursor.y), Int32(cursor.x))
        } else {
            cncurses_cursor(0, -1)
        }
        cncurses_flush()
    }
}

/// What has to be sent so that a terminal that shows one screen shows another.
enum Difference {
    /// Longer gaps are jumped over by the terminal, which costs less than their blanks.
    private static let longestGap = 8

    /// Gives blanks the look that costs least to send: of a blank that is neither underlined nor reversed nothing
    /// is seen, so it goes on in the look of the text before it, or, at a row's end and in long gaps, in none.
    static func settleBlanks(_ cells: inout [Cell], size: Size) {
        for y in 0..<size.height {
            let row = y * size.width
            let end = row + size.width
            var before = Look()
            var x = row
            while x < end {
                guard isInvisible(cells[x]) else {
                    before = cells[x].look
                    x += 1
                    continue
                }
                let start = x
                while x < end, isInvisible(cells[x]) { x += 1 }
                let isJoined =
                    x < end && x - start <= longestGap && before.attributes.isDisjoint(with: visible)
                for blank in start..<x { cells[blank].look = isJoined ? before : Look() }
            }
        }
    }

    /// What is seen of a blank.
    private static let visible: Look.Attributes = [.underline, .reverse]

    private static func isInvisible(_ cell: Cell) -> Bool {
        cell.scalar == 0x20 && cell.look.attributes.isDisjoint(with: visible)
    }

    /// Calls `body` for each run of cells of one look in a row that begins at a changed cell. A run goes on over
    /// cells that did not change: they cost less than a second run.
    static func forEachRun(
        _ cells: [Cell], _ earlier: [Cell]?, size: Size,
        _ body: (_ row: Int, _ columns: Range<Int>, _ look: Look) -> Void
    ) {
        for y in 0..<size.height {
            let row = y * size.width
            var x = 0
            while x < size.width {
                if let earlier, earlier[row + x] == cells[row + x] {
                    x += 1
                    continue
                }
                // The second half of a wide character is drawn by its first.
                let start = cells[row + x].scalar == 0 && x > 0 ? x - 1 : x
                let look = cells[row + start].look
                x = start + 1
                while x < size.width, cells[row + x].look == look { x += 1 }
                body(y, start..<x, look)
            }
        }
    }
}
