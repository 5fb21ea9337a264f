import DebugTarget
import X86

/// INT 10h. Source: IBM PS/2 and PC BIOS Interface Technical Reference, "Video".
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
        case 0x06, 0x07: scroll(screen, &call)
        case 0x08:
            let (row, column) = screen.cursor(Int(call.bh))
            // Which character some dots are is not looked for.
            if screen.graphics != nil || screen.isBlind { call.isKnown = false }
            call.ax = screen.cell(Int(call.bh), row: row, column: column) ?? 0x0720
        case 0x09, 0x0A: writeCharacters(screen, &call)
        // Colours: what is set is kept nowhere.
        case 0x0B: break
        case 0x0C:
            guard let dots = screen.graphics else { return refuseDots(&call, screen) }
            dots.setDot(Int(call.cx), Int(call.dx), call.al, combines: dots.combines(call.al))
        case 0x0D:
            guard let dots = screen.graphics else {
                call.al = 0
                return refuseDots(&call, screen)
            }
            call.al = dots.dot(Int(call.cx), Int(call.dx)) ?? 0
        case 0x0E:
            let page = screen.page
            var cursor = screen.cursor(page)
            screen.type(call.al, screen.graphics == nil ? nil : call.bl, page, &cursor)
            if screen.isBlind { call.isKnown = false }
            screen.setCursor(page, row: cursor.row, column: cursor.column)
        case 0x0F:
            call.ah = UInt8(truncatingIfNeeded: screen.columns)
            call.al = call.memory.byte(BIOSData.videoMode) ?? 3
            call.bh = UInt8(screen.page)
        // The palette: what is set is kept nowhere, for the screen is drawn with the terminal's colours, and so nothing of
        // it can be read.
        case 0x10: if [0x07, 0x08, 0x09, 0x15, 0x17, 0x1A].contains(call.al) { call.isKnown = false }
        case 0x11: font(&call)
        case 0x12: select(&call)
        case 0x13: writeString(screen, &call)
        case 0x1A:
            // A VGA with a colour screen.
            if call.al == 0 { call.bx = 0x0008 }
            call.al = 0x1A
        // VBE is absent: AL is not 4Fh.
        case 0x4F: call.ax = 0x0100
        default: call.isKnown = false
        }
    }

    /// In text there are no dots, which is an answer; planes are what this machine has not.
    private func refuseDots(_ call: inout BIOSCall, _ screen: TextScreen) {
        if screen.isBlind { call.isKnown = false }
    }

    private func setMode(_ call: inout BIOSCall) {
        let mode = call.al & 0x7F
        let keeps = call.al & 0x80 != 0
        guard let wanted = VideoMode.numbered(mode) else {
            // One that a VGA has not: the mode stays as it was.
            call.isKnown = false
            return
        }
        let memory = call.memory
        memory.setByte(BIOSData.videoMode, mode)
        memory.setWord(BIOSData.columns, UInt16(wanted.columns))
        memory.setWord(BIOSData.pageSize, UInt16(truncatingIfNeeded: wanted.pageSize))
        memory.write(BIOSData.lastRow, [UInt8(wanted.rows - 1), UInt8(wanted.height), 0])
        memory.setByte(BIOSData.videoControl, keeps ? 0xE0 : 0x60)
        // Among dots there is no cursor.
        memory.setWord(BIOSData.cursorShape, wanted.layout == .text ? 0x0607 : 0)
        for page in UInt64(0)..<8 { memory.setWord(BIOSData.cursors + page * 2, 0) }
        setFont(memory, height: wanted.height)
        hardware.screen.setMode(wanted)
        hardware.screen.setCursorShape(0x0607)
        let screen = TextScreen(memory, hardware.screen)
        screen.select(0)
        if !keeps { clear(memory, wanted) }
        // Twice a VGA's answer, by mode.
        call.al = mode > 7 ? 0x20 : mode == 6 ? 0x3F : 0x30
    }

    private func clear(_ memory: BIOSMemory, _ mode: VideoMode) {
        let range = mode.memory
        let count = Int(range.upperBound - range.lowerBound)
        let cell: [UInt8] = mode.layout == .text ? [0x20, 0x07] : [0, 0]
        memory.write(range.lowerBound, (0..<count).map { cell[$0 & 1] })
    }

    /// INT 43h leads to the font of a height.
    private func setFont(_ memory: BIOSMemory, height: Int) {
        memory.setWord(0x43 * 4, BIOSROM.font(height: height))
        memory.setWord(0x43 * 4 + 2, BIOSROM.segment)
    }

    private func scroll(_ screen: TextScreen, _ call: inout BIOSCall) {
        if screen.isBlind { call.isKnown = false }
        let rows = (Int(call.ch), min(Int(call.dh), screen.rows - 1))
        let columns = (Int(call.cl), min(Int(call.dl), screen.columns - 1))
        guard rows.0 <= rows.1, columns.0 <= columns.1 else { return }
        screen.scroll(
            screen.page, by: Int(call.al), rows: rows.0...rows.1, columns: columns.0...columns.1, call.bh,
            up: call.ah == 0x06)
    }

    private func writeCharacters(_ screen: TextScreen, _ call: inout BIOSCall) {
        if screen.isBlind { call.isKnown = false }
        let page = Int(call.bh)
        var (row, column) = screen.cursor(page)
        // No more than the screen has room for.
        for _ in 0..<min(Int(call.cx), screen.rows * screen.columns) {
            screen.put(
                page, row: row, column: column, call.al,
                call.ah == 0x09 || screen.graphics != nil ? call.bl : nil)
            column += 1
            if column >= screen.columns {
                column = 0
                row += 1
            }
        }
    }

    private func writeString(_ screen: TextScreen, _ call: inout BIOSCall) {
        if screen.isBlind { call.isKnown = false }
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
            setFont(memory, height: Int(height))
        // Fonts of graphics modes: the guest's own, and the ROM's.
        case 0x20:
            memory.setWord(0x1F * 4, call.bp)
            memory.setWord(0x1F * 4 + 2, call.special.es.selector)
        case 0x21:
            memory.setWord(0x43 * 4, call.bp)
            memory.setWord(0x43 * 4 + 2, call.special.es.selector)
            setRows(memory, call, height: call.cl)
        case 0x22, 0x23, 0x24:
            let height = call.al == 0x22 ? 14 : call.al == 0x23 ? 8 : 16
            setFont(memory, height: height)
            setRows(memory, call, height: UInt8(height))
        case 0x30: fontPlace(&call)
        default: call.isKnown = false
        }
    }

    /// How many rows of characters a graphics mode has.
    private func setRows(_ memory: BIOSMemory, _ call: BIOSCall, height: UInt8) {
        let rows: UInt8 =
            switch call.bl {
            case 0: call.dl
            case 1: 14
            case 3: 43
            default: 25
            }
        memory.setByte(BIOSData.characterHeight, height)
        memory.setByte(BIOSData.lastRow, max(1, rows) - 1)
    }

    /// Where a font is.
    private func fontPlace(_ call: inout BIOSCall) {
        let memory = call.memory
        switch call.bh {
        case 0x00, 0x01:
            let vector: UInt64 = call.bh == 0 ? 0x1F : 0x43
            call.bp = memory.word(vector * 4) ?? 0
            call.loadES(memory.word(vector * 4 + 2) ?? 0)
        case 0x02...0x07:
            call.loadES(BIOSROM.segment)
            call.bp =
                switch call.bh {
                case 0x02: BIOSROM.Place.font14
                case 0x03: BIOSROM.Place.font8
                case 0x04: BIOSROM.Place.font8 + 128 * 8
                // What differs in characters nine dots wide: nothing.
                case 0x05, 0x07: BIOSROM.Place.noFont
                default: BIOSROM.Place.font16
                }
        default:
            call.isKnown = false
            return
        }
        call.cx = UInt16(memory.byte(BIOSData.characterHeight) ?? 16)
        call.dl = memory.byte(BIOSData.lastRow) ?? 24
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
