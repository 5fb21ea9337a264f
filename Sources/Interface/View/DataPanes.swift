import Commands
import GuestView
import X86

extension Model {
    func drawStack(_ guest: GuestView, _ brush: inout Brush) {
        for (row, slot) in guest.stack.dropFirst(scroll[.stack, default: 0]).prefix(brush.height).enumerated()
        {
            brush.go(0, row)
            let isTop = row == 0 && scroll[.stack, default: 0] == 0
            brush.put(isTop ? "> " : "  ", Look(.pc, .bold))
            let digits = slot.width == 8 ? 16 : slot.width == 4 ? 8 : 4
            brush.put(hex: slot.offset, digits: digits, .address)
            brush.put("  ")
            let start = brush.x
            if let value = slot.value {
                for place in (0..<slot.width).reversed() {
                    let isChanged = slot.changed & 1 << UInt8(place) != 0
                    brush.put(
                        hex: value >> UInt64(place * 8), digits: 2,
                        isChanged ? Look(.changed, [.bold, .underline]) : .plain)
                }
            } else {
                brush.put("??", .unread)
            }
            brush.field(
                .slot(Int(truncatingIfNeeded: slot.offset), value: slot.value, digits: digits), from: start)
            brush.put(slot.isChanged ? "*" : " ", .changed)
            if let value = slot.value {
                brush.put(" ")
                for place in 0..<slot.width {
                    let byte = UInt8(truncatingIfNeeded: value >> UInt64(place * 8))
                    let isChanged = slot.changed & 1 << UInt8(place) != 0
                    brush.put(scalar: isPrintable(byte) ? UInt32(byte) : 0x2E, isChanged ? .changed : .dim)
                }
            }
            if !slot.note.isEmpty {
                brush.put(" ")
                brush.put(slot.note, Look(.symbol))
            }
        }
    }

    /// Hexadecimal and characters; a changed byte is followed by `*`.
    func drawMemory(_ guest: GuestView, _ brush: inout Brush) {
        let window = guest.memory
        guard let place = memory else { return }
        let columns = memoryColumns(width: brush.width, place)
        let mask: UInt64 = window.digits >= 16 ? .max : (1 << UInt64(window.digits * 4)) - 1
        for row in 0..<brush.height {
            let first = row * columns
            guard first < window.bytes.count else { return }
            brush.go(0, row)
            brush.put(window.prefix, .dim)
            brush.put(hex: (window.start &+ UInt64(first)) & mask, digits: window.digits, .address)
            brush.put("  ")
            let text = brush.x + columns * 3 + 1
            for index in first..<min(first + columns, window.bytes.count) {
                let isChanged = window.changed.contains(index)
                let start = brush.x
                if let byte = window.bytes[index] {
                    brush.put(hex: UInt64(byte), digits: 2, isChanged ? .changed : byte == 0 ? .dim : .plain)
                } else {
                    brush.put("??", .unread)
                }
                brush.field(.byte(index, value: window.bytes[index]), from: start)
                brush.put(isChanged ? "*" : " ", .changed)
            }
            brush.go(text, row)
            for index in first..<min(first + columns, window.bytes.count) {
                let isChanged = window.changed.contains(index)
                guard let byte = window.bytes[index] else {
                    brush.put("?", .unread)
                    continue
                }
                brush.put(scalar: isPrintable(byte) ? UInt32(byte) : 0x2E, isChanged ? .changed : .dim)
            }
        }
    }

    /// The histogram above, the last exits below.
    func drawExits(_ guest: GuestView, _ brush: inout Brush) {
        let table = guest.exits
        // What fits is shown: the average and the share of all go first.
        let name = brush.width - (brush.width >= 56 ? 38 : 24)
        let columns: [(title: String, end: Int, text: (ExitTable.Row) -> String)] =
            brush.width >= 56
            ? [
                ("Count", 7, { count($0.count) }), ("%", 13, { share($0, table) }),
                ("Rate/s", 21, { $0.rate.map(rate) ?? "-" }),
                ("Avg", 29, { $0.average.map { time($0) } ?? "-" }),
                ("Max", 37, { $0.maximum.map { time($0) } ?? "-" }),
            ]
            : [
                ("Count", 7, { count($0.count) }), ("Rate/s", 15, { $0.rate.map(rate) ?? "-" }),
                ("Max", 23, { $0.maximum.map { time($0) } ?? "-" }),
            ]
        brush.put("Exit", .dim)
        for column in columns { brush.put(column.title, endingAt: name + column.end, .dim) }
        let room = brush.height - 1
        // The last ones have at least a third of the pane, where there are any.
        let shown = min(table.rows.count, table.recent.isEmpty ? room : max(1, room * 2 / 3 - 1))
        for (row, exit) in table.rows.prefix(shown).enumerated() {
            brush.go(0, row + 1)
            brush.put(String(exit.name.prefix(max(0, name))), Look(.mnemonic))
            for column in columns { brush.put(column.text(exit), endingAt: name + column.end) }
        }
        let y = shown + 1
        guard y < brush.height, !table.recent.isEmpty else {
            if table.rows.isEmpty {
                brush.go(0, 1)
                guard !guest.exitsMissing.isEmpty else {
                    brush.put("none yet", .dim)
                    return
                }
                brush.put("not told by the host:", .warning)
                brush.go(0, 2)
                brush.put(guest.exitsMissing.printable, .dim)
            }
            return
        }
        brush.go(0, y)
        brush.put("Last exits", .dim)
        for (row, exit) in table.recent.dropFirst(scroll[.exits, default: 0]).prefix(brush.height - y - 1)
            .enumerated()
        {
            brush.go(0, y + 1 + row)
            brush.put("#\(exit.number) ", .dim)
            if guest.vcpus.count > 1 { brush.put("cpu\(exit.vcpu) ", .name) }
            brush.put(exit.text)
            if brush.room > 12, exit.age > 0 { brush.put("-\(time(exit.age))", endingAt: brush.width, .dim) }
        }
    }

    private func share(_ row: ExitTable.Row, _ table: ExitTable) -> String {
        tenths(table.total == 0 ? 0 : Double(row.count) / Double(table.total) * 100)
    }

    private func isPrintable(_ byte: UInt8) -> Bool { (0x20..<0x7F).contains(byte) }
}
