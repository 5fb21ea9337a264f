import Commands
import GuestView

extension Model {
    func drawOutput(_ brush: inout Brush) {
        let height = brush.height
        let skip = scroll[.output, default: 0]
        // From the last line backwards, until the pane is full.
        var row = height + skip
        for index in output.indices.reversed() {
            guard row > 0 else { return }
            row -= wrappedRows(output[index].text, width: brush.width)
            guard row < height else { continue }
            draw(output[index], from: row, isMatch: index == matched, &brush)
        }
        // A pane that is not full is filled from its top.
        if row > 0, skip == 0 { shiftUp(by: row, &brush) }
    }

    /// Lines of the last answer that are not in sight, above those that are.
    var linesAbove: Int {
        guard let content = layout.frame(of: .output)?.content else { return 0 }
        var row = content.height + scroll[.output, default: 0]
        for index in output.indices.reversed() {
            row -= wrappedRows(output[index].text, width: content.width)
            if row < 0 { return max(0, index + 1 - answerStart) }
        }
        return 0
    }

    /// Moves what is drawn up by `rows`.
    private func shiftUp(by rows: Int, _ brush: inout Brush) {
        let area = brush.area
        for y in 0..<area.height {
            for x in 0..<area.width {
                let from = y + rows
                brush.onScreen(
                    area.x + x, area.y + y,
                    from < area.height ? brush.cell(onScreen: area.x + x, area.y + from) : .blank)
            }
        }
    }

    private func draw(_ line: OutputLine, from row: Int, isMatch: Bool, _ brush: inout Brush) {
        var starts = rowStarts(line.text, width: brush.width).dropFirst()
        var x = 0
        var y = row
        var index = 0
        for span in line.spans {
            var look = span.look
            if isMatch { look.attributes.insert(.reverse) }
            for scalar in span.text.unicodeScalars {
                if index == starts.first {
                    starts.removeFirst()
                    x = 0
                    y += 1
                }
                index += 1
                let columns = cellWidth(scalar)
                if columns == 0 { continue }
                brush.go(x, y)
                brush.put(scalar: scalar.value, look)
                if columns == 2 { brush.put(scalar: 0, look) }
                x += columns
            }
        }
    }

    func drawConsole(_ guest: GuestView, _ brush: inout Brush) {
        if let screen = guestScreen { return drawScreen(screen, &brush) }
        let lines = consoleLines()
        var row = brush.height + scroll[.console, default: 0]
        let total = lines.reduce(0) { $0 + wrappedRows($1, width: brush.width) }
        if total < brush.height { row = total }
        for index in lines.indices.reversed() {
            guard row > 0 else { return }
            row -= wrappedRows(lines[index], width: brush.width)
            guard row < brush.height else { continue }
            draw(
                OutputLine(lines[index], Look(.console)), from: row,
                isMatch: index == matched && focus == .console, &brush)
        }
    }

    /// What the guest wrote as lines: CR, LF and backspace as a terminal has them, tabs at every eighth column, bytes
    /// that are not printable as `.`; the escape sequences of terminals are left out.
    func consoleLines() -> [String] {
        guard let bytes = guest?.console.bytes.suffix(16_384) else { return [] }
        var lines: [String] = []
        var line: [UInt8] = []
        var column = 0
        var escape = Escape.none
        func put(_ byte: UInt8) {
            if column < line.count { line[column] = byte } else { line.append(byte) }
            column += 1
        }
        for byte in bytes {
            if escape != .none {
                escape = escape.next(byte)
                continue
            }
            switch byte {
            case 0x1B: escape = .started
            case 0x0A:
                lines.append(String(decoding: line, as: UTF8.self))
                line.removeAll()
                column = 0
            case 0x0D: column = 0
            case 0x08: column = max(0, column - 1)
            case 0x09: repeat { put(0x20) } while column % 8 != 0
            case 0x07, 0x00: continue
            case 0x20..<0x7F: put(byte)
            default: put(0x2E)
            }
        }
        if !line.isEmpty { lines.append(String(decoding: line, as: UTF8.self)) }
        return lines
    }
}

/// Where a terminal's escape sequence is. Source: ECMA-48, 5.4.
private enum Escape {
    case none, started, control
    func next(_ byte: UInt8) -> Escape {
        switch self {
        case .started: byte == 0x5B ? .control : .none
        case .control: (0x40...0x7E).contains(byte) ? .none : .control
        case .none: .none
        }
    }
}

/// Where the rows of a line begin that is broken at `width`, counted in scalars: after a blank where one stands
/// in the second half of a row, else wherever the row ends. At least one row.
func rowStarts(_ text: String, width: Int) -> [Int] {
    // Short ASCII, which is nearly all.
    guard width > 0, text.utf8.count > width else { return [0] }
    var starts = [0]
    var x = 0
    var afterBlank: (index: Int, x: Int)?
    for (index, scalar) in text.unicodeScalars.enumerated() {
        let columns = cellWidth(scalar)
        if x + columns > width {
            if let blank = afterBlank, blank.x * 2 > width, blank.index < index || scalar != " " {
                starts.append(blank.index)
                x -= blank.x
            } else {
                starts.append(index)
                x = 0
            }
            afterBlank = nil
        }
        x += columns
        if scalar == " " { afterBlank = (index + 1, x) }
    }
    return starts
}

/// Rows that a line takes where it is broken at `width`; one for an empty line.
func wrappedRows(_ text: String, width: Int) -> Int { rowStarts(text, width: width).count }
