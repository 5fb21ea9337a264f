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

    private func isPrintable(_ byte: UInt8) -> Bool { (0x20..<0x7F).contains(byte) }
}
