import GuestView

extension Model {
    /// `B=> 0000:7c00  31c0  xor ax, ax   [br=1]  note`
    func drawCode(_ guest: GuestView, _ brush: inout Brush) {
        let lines = guest.code.lines
        // In a narrow pane the high half of an address is left out where it is zero throughout.
        let isShort =
            brush.width < 64
            && lines.allSatisfy { $0.location.utf8.count == 16 && $0.address <= UInt64(UInt32.max) }
        let location = isShort ? 8 : lines.map(\.location.utf8.count).max() ?? 9
        // Names have a column of their own where there are any and room for it.
        let names = lines.map(\.symbol.utf8.count).max() ?? 0
        let nameColumns = names > 0 && brush.width >= location + 70 ? min(names + 2, 24) : 0
        // The bytes are shown where the instruction still has room.
        let room = brush.width - location - nameColumns
        let byteColumns = room >= 64 ? 22 : room >= 46 ? 16 : 0
        // A narrow pane has room for the next instruction's arrow alone.
        let arrows = JumpArrows(
            lines, rows: brush.height, limit: brush.width >= 90 ? 4 : brush.width >= 60 ? 2 : 1)
        let gutter = brush.width >= 60 ? 4 : 3
        for (row, line) in lines.prefix(brush.height).enumerated() {
            brush.go(0, row)
            let isBreakpoint = line.breakpoint != nil
            brush.put(
                isBreakpoint ? (line.isBreakpointEnabled ? "B" : "b") : " ", Look(.breakpoint, .bold))
            brush.put(line.isPC ? "=>" : "  ", Look(.pc, .bold))
            brush.go(gutter + arrows.width, row)
            brush.put(isShort ? String(line.location.suffix(8)) : line.location, .address)
            brush.skip(2)
            if nameColumns > 0 {
                let start = brush.x
                brush.put(String(line.symbol.prefix(nameColumns - 1)), Look(.symbol))
                brush.go(start + nameColumns, row)
            }
            if byteColumns > 0 {
                drawBytes(line.bytes, columns: byteColumns, &brush)
            }
            if line.bytes.isEmpty {
                brush.put("?? ", .unread)
                brush.put(line.text, .dim)
                continue
            }
            drawInstruction(line.text, line.isPC, &brush)
            if let taken = line.willBranch {
                brush.put(taken ? "  [br=1]" : "  [br=0]", taken ? Look(.good, .bold) : .dim)
            }
            if !line.note.isEmpty {
                brush.put("  ")
                brush.put(line.note, Look(.symbol))
            }
        }
        arrows.draw(at: gutter, &brush)
    }

    private func drawBytes(_ bytes: [UInt8], columns: Int, _ brush: inout Brush) {
        let start = brush.x
        let fit = (columns - 2) / 2
        for byte in bytes.prefix(bytes.count > fit ? fit - 1 : fit) {
            brush.put(hex: UInt64(byte), digits: 2, .dim)
        }
        if bytes.count > fit { brush.put("..", .dim) }
        brush.pad(to: start + columns)
    }

    private func drawInstruction(_ text: String, _ isPC: Bool, _ brush: inout Brush) {
        let attributes: Look.Attributes = isPC ? .bold : []
        guard let space = text.firstIndex(of: " ") else {
            brush.put(text, Look(.mnemonic, attributes))
            return
        }
        brush.put(String(text[..<space]), Look(.mnemonic, attributes))
        brush.put(String(text[space...]), Look(.plain, attributes))
    }
}
