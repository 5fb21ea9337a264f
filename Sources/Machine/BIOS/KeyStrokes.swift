/// The keys of a US keyboard.
enum KeyboardLayout {
    /// The rows of letters and digits, by their first scan code: alone, and with Shift.
    static let rows: [(first: UInt8, plain: [UInt8], shifted: [UInt8])] = [
        (0x02, Array("1234567890-=".utf8), Array("!@#$%^&*()_+".utf8)),
        (0x10, Array("qwertyuiop[]".utf8), Array("QWERTYUIOP{}".utf8)),
        (0x1E, Array("asdfghjkl;'`".utf8), Array("ASDFGHJKL:\"~".utf8)),
        (0x2B, Array("\\zxcvbnm,./".utf8), Array("|ZXCVBNM<>?".utf8)),
    ]
}

/// The scan codes of what a user types.
enum KeyStrokes {
    private static let shift: UInt8 = 0x2A
    private static let control: UInt8 = 0x1D

    /// Press and release of a byte's key; nil for one that no key gives.
    static func codes(for byte: UInt8) -> [UInt8]? {
        switch byte {
        case 0x0D, 0x0A: return press(0x1C)
        case 0x08, 0x7F: return press(0x0E)
        case 0x09: return press(0x0F)
        case 0x1B: return press(0x01)
        case 0x20: return press(0x39)
        case 0x01...0x1A:
            // Ctrl with a letter.
            guard let letter = codes(for: byte + 0x60) else { return nil }
            return [control] + letter + [control | 0x80]
        default: break
        }
        for row in KeyboardLayout.rows {
            if let place = row.plain.firstIndex(of: byte) { return press(row.first + UInt8(place)) }
            if let place = row.shifted.firstIndex(of: byte) {
                return [shift] + press(row.first + UInt8(place)) + [shift | 0x80]
            }
        }
        return nil
    }

    /// Press and release of a key by name; nil for one that there is not.
    static func codes(named name: String) -> [UInt8]? {
        if let code = plain[name] { return press(code) }
        if let code = extended[name] { return [0xE0, code, 0xE0, code | 0x80] }
        return nil
    }

    private static func press(_ code: UInt8) -> [UInt8] { [code, code | 0x80] }

    private static let plain: [String: UInt8] = [
        "enter": 0x1C, "esc": 0x01, "tab": 0x0F, "backspace": 0x0E, "space": 0x39, "capslock": 0x3A,
        "numlock": 0x45, "f1": 0x3B, "f2": 0x3C, "f3": 0x3D, "f4": 0x3E, "f5": 0x3F, "f6": 0x40, "f7": 0x41,
        "f8": 0x42, "f9": 0x43, "f10": 0x44, "f11": 0x57, "f12": 0x58,
    ]
    private static let extended: [String: UInt8] = [
        "up": 0x48, "down": 0x50, "left": 0x4B, "right": 0x4D, "home": 0x47, "end": 0x4F, "pgup": 0x49,
        "pgdn": 0x51, "insert": 0x52, "delete": 0x53,
    ]

    /// The names that ``codes(named:)`` knows.
    static var names: [String] { (Array(plain.keys) + Array(extended.keys)).sorted() }
}
