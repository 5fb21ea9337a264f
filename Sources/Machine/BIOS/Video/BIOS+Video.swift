import DebugTarget
import X86

/// INT 10h, of text modes. Source: IBM PS/2 and PC BIOS Interface Technical Reference, "Video".
extension BIOS {
    func video(_ call: inout BIOSCall) {
        let screen = TextScreen(call.memory, hardware.screen)
        switch call.ah {
        case 0x00: setMode(&call)
        case 0x01:
            call.memory.setWord(BIOSData.cursorShape, call.cx)
            hardware.screen.setCursorShape(call.cx)
        case 0x02: screen.setCursor(Int(call.bh), row: Int(call.dh), column: Int(call.dl))
        case 0x03:
            let (row, column) = screen.cursor(Int(call.bh))
            call.dx = UInt16(row) << 8 | UInt16(column)
            call.cx = call.memory.word(BIOSData.cursorShape) ?? 0x0607
        case 0x05: screen.select(Int(call.al))
        case 0x06, 0x07: scroll(screen, call)
        case 0x08:
            let (row, column) = screen.cursor(Int(call.bh))
            call.ax = screen.cell(Int(call.bh), row: row, column: column) ?? 0x0720
        case 0x09, 0x0A: writeCharacters(screen, call)
        // Colours of graphics modes, and pixels: there are none in text.
        case 0x0B, 0x0C: break
        case 0x0D: call.al = 0
        case 0x0E:
            let page = screen.page
            var cursor = screen.cursor(page)
            screen.type(call.al, nil, page, &cursor)
            screen.setCursor(page, row: cursor.row, column: cursor.column)
        case 0x0F:
            call.ah = UInt8(truncatingIfNeeded: screen.columns)
            call.al = call.memory.byte(BIOSData.videoMode) ?? 3
            call.bh = UInt8(screen.page)
        // The palette: what is set is kept nowhere, for the screen is drawn with the terminal's colours.
        case 0x10: break
        case 0x11: font(&call)
        case 0x12: select(&call)
        case 0x13: writeString(screen, call)
        case 0x1A:
            // A VGA with a colour screen.
            if call.al == 0 { call.bx = 0x0008 }
            call.al = 0x1A
        // VBE is absent: AL is not 4Fh.
        case 0x4F: call.ax = 0x0100
        default: call.isKnown = false
        }
    }

    private func setMode(_ call: inout BIOSCall) {
        let mode = call.al & 0x7F
        let keeps = call.al & 0x80 != 0
        guard [0, 1, 2, 3, 7].contains(mode) else {
            // Graphics: the mode stays as it was.
            call.isKnown = false
            return
        }
        let memory = call.memory
        memory.setByte(BIOSData.videoMode, mode)
        memory.setWord(BIOSData.columns, mode < 2 ? 40 : 80)
        memory.setWord(BIOSData.pageSize, mode < 2 ? 0x800 : 0x1000)
        memory.write(BIOSData.lastRow, [24, 16, 0])
        memory.setWord(BIOSData.cursorShape, 0x0607)
        for page in UInt64(0)..<8 { memory.setWord(BIOSData.cursors + page * 2, 0) }
        hardware.screen.setCursorShape(0x0607)
        let screen = TextScreen(memory, hardware.screen)
        screen.select(0)
        if !keeps { for page in 0..<8 { screen.clear(page) } }
        call.al = 0x30
    }

    private func scroll(_ screen: TextScreen, _ call: BIOSCall) {
        let rows = (Int(call.ch), min(Int(call.dh), screen.rows - 1))
        let columns = (Int(call.cl), min(Int(call.dl), screen.columns - 1))
        guard rows.0 <= rows.1, columns.0 <= columns.1 else { return }
        screen.scroll(
            screen.page, by: Int(call.al), rows: rows.0...rows.1, columns: columns.0...columns.1, call.bh,
            up: call.ah == 0x06)
    }

    private func writeCharacters(_ screen: TextScreen, _ call: BIOSCall) {
        let page = Int(call.bh)
        var (row, column) = screen.cursor(page)
        // No more than the screen has room for.
        for _ in 0..<min(Int(call.cx), screen.rows * screen.columns) {
            screen.put(page, row: row, column: column, call.al, call.ah == 0x09 ? call.bl : nil)
            column += 1
            if column >= screen.columns {
                column = 0
                row += 1
            }
        }
    }

    private func writeString(_ screen: TextScreen, _ call: BIOSCall) {
        let page = Int(call.bh)
        let hasAttributes = call.al & 2 != 0
        let size = hasAttributes ? 2 : 1
        let start = call.special.es.base &+ UInt64(call.bp)
        guard let text = call.memory.bytes(start, count: Int(call.cx) * size) else { return }
        let before = screen.cursor(page)
        var cursor = (row: Int(call.dh), column: Int(call.dl))
        for place in stride(from: 0, to: text.count, by: size) {
            screen.type(text[place], hasAttributes ? text[place + 1] : call.bl, page, &cursor)
        }
        if call.al & 1 != 0 {
            screen.setCursor(page, row: cursor.row, column: cursor.column)
        } else {
            screen.setCursor(page, row: before.row, column: before.column)
        }
    }

    private func font(_ call: inout BIOSCall) {
        let memory = call.memory
        switch call.al {
        case 0x01, 0x02, 0x04, 0x11, 0x12, 0x14:
            // The ROM's fonts of 14, 8 and 16 lines, on a screen of 400.
            let height: UInt8 = call.al & 0xF == 1 ? 14 : call.al & 0xF == 2 ? 8 : 16
            memory.setByte(BIOSData.characterHeight, height)
            memory.setByte(BIOSData.characterHeight + 1, 0)
            memory.setByte(BIOSData.lastRow, UInt8(400 / Int(height) - 1))
        case 0x30:
            call.cx = UInt16(memory.byte(BIOSData.characterHeight) ?? 16)
            call.dl = memory.byte(BIOSData.lastRow) ?? 24
            // There are no pictures of characters here: blank ones.
            call.loadES(BIOSROM.segment)
            call.bp = 0
        default: call.isKnown = false
        }
    }

    private func select(_ call: inout BIOSCall) {
        switch call.bl {
        case 0x10:
            call.bx = 0x0003
            call.cx = 0x0009
        case 0x30, 0x31, 0x32, 0x33, 0x34, 0x36: call.al = 0x12
        default: call.isKnown = false
        }
    }
}
