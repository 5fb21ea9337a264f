import DebugTarget

/// Turns scan codes of set 1 into the keys of INT 16h and the shift flags of the data area, for a US keyboard.
///
/// Source: IBM PS/2 and PC BIOS Interface Technical Reference, "Scan code/character code combinations".
struct KeyTranslation: Sendable, Hashable {
    /// E0h came before.
    private var isExtended = false

    /// One key: what it gives alone, with Shift, with Ctrl and with Alt. 0 for nothing.
    private struct Key {
        var plain: UInt16
        var shift: UInt16
        var control: UInt16
        var alt: UInt16
    }

    private enum Flag {
        static let rightShift: UInt8 = 1
        static let leftShift: UInt8 = 2
        static let control: UInt8 = 4
        static let alt: UInt8 = 8
        static let scrollLock: UInt8 = 0x10
        static let numLock: UInt8 = 0x20
        static let capsLock: UInt8 = 0x40
        static let insert: UInt8 = 0x80
    }

    /// Takes a scan code as INT 09h does.
    mutating func take(_ code: UInt8, _ memory: BIOSMemory) {
        if code == 0xE0 || code == 0xE1 {
            isExtended = true
            return
        }
        let extended = isExtended
        isExtended = false
        var flags = memory.byte(BIOSData.shiftFlags) ?? 0
        let isRelease = code & 0x80 != 0
        let key = code & 0x7F
        if let bit = Self.modifier(key, extended) {
            if isRelease { flags &= ~bit } else { flags |= bit }
            memory.setByte(BIOSData.shiftFlags, flags)
            return
        }
        guard !isRelease else { return }
        switch key {
        case 0x3A: flags ^= Flag.capsLock
        case 0x45: flags ^= Flag.numLock
        case 0x46: flags ^= Flag.scrollLock
        default:
            if let word = Self.word(key, extended, flags), word != 0 {
                // One more than there is room for is lost, as a PC beeps.
                _ = KeyBuffer(memory).append(word)
            }
            return
        }
        memory.setByte(BIOSData.shiftFlags, flags)
    }

    private static func modifier(_ key: UInt8, _ extended: Bool) -> UInt8? {
        switch key {
        // With E0h they only frame the keys of the middle block.
        case 0x2A: extended ? 0 : Flag.leftShift
        case 0x36: extended ? 0 : Flag.rightShift
        case 0x1D: Flag.control
        case 0x38: Flag.alt
        default: nil
        }
    }

    private static func word(_ key: UInt8, _ extended: Bool, _ flags: UInt8) -> UInt16? {
        let shift = flags & 3 != 0
        let control = flags & Flag.control != 0
        let alt = flags & Flag.alt != 0
        if extended {
            guard let found = middle(key) else { return nil }
            return alt ? found.alt : control ? found.control : shift ? found.shift : found.plain
        }
        if let digit = keypad(key, flags) { return digit }
        guard let found = main(key) else { return nil }
        if alt { return found.alt }
        if control { return found.control }
        let character = UInt8(truncatingIfNeeded: found.plain)
        let isLetter = (0x61...0x7A).contains(character)
        let isShifted = isLetter && flags & Flag.capsLock != 0 ? !shift : shift
        return isShifted ? found.shift : found.plain
    }

    private static func main(_ key: UInt8) -> Key? {
        let high = UInt16(key) << 8
        switch key {
        case 0x01: return Key(plain: 0x011B, shift: 0x011B, control: 0x011B, alt: 0x0100)
        case 0x0E: return Key(plain: 0x0E08, shift: 0x0E08, control: 0x0E7F, alt: 0x0E00)
        case 0x0F: return Key(plain: 0x0F09, shift: 0x0F00, control: 0x9400, alt: 0xA500)
        case 0x1C: return Key(plain: 0x1C0D, shift: 0x1C0D, control: 0x1C0A, alt: 0x1C00)
        case 0x39: return Key(plain: 0x3920, shift: 0x3920, control: 0x3920, alt: 0x3920)
        // F1 to F10, F11 and F12.
        case 0x3B...0x44:
            let step = UInt16(key - 0x3B) << 8
            return Key(plain: high, shift: 0x5400 + step, control: 0x5E00 + step, alt: 0x6800 + step)
        case 0x57, 0x58:
            let step = UInt16(key - 0x57) << 8
            return Key(plain: 0x8500 + step, shift: 0x8700 + step, control: 0x8900 + step, alt: 0x8B00 + step)
        default: break
        }
        for row in KeyboardLayout.rows {
            let place = Int(key) - Int(row.first)
            guard row.plain.indices.contains(place) else { continue }
            let character = row.plain[place]
            var control: UInt16 = 0
            switch character {
            case 0x61...0x7A, 0x5B, 0x5C, 0x5D: control = high | UInt16(character & 0x1F)
            case 0x32: control = 0x0300
            case 0x36: control = high | 0x1E
            case 0x2D: control = high | 0x1F
            default: break
            }
            // Digits with Alt have codes of their own.
            let alt = row.first == 0x02 ? UInt16(0x78 + place) << 8 : high
            return Key(
                plain: high | UInt16(character), shift: high | UInt16(row.shifted[place]), control: control,
                alt: alt)
        }
        return nil
    }

    /// The keypad: digits where Num Lock or Shift say so, else the keys that they stand for. Nil for other keys.
    private static func keypad(_ key: UInt8, _ flags: UInt8) -> UInt16? {
        if key == 0x37 { return 0x372A }
        guard (0x47...0x53).contains(key) else { return nil }
        let characters = Array("789-456+1230.".utf8)
        let character = characters[Int(key - 0x47)]
        let high = UInt16(key) << 8
        if character == 0x2D || character == 0x2B { return high | UInt16(character) }
        let isDigit = (flags & Flag.numLock != 0) != (flags & 3 != 0)
        if isDigit { return high | UInt16(character) }
        return key == 0x4C ? 0x4CF0 : high
    }

    /// The keys between the letters and the keypad, which come with E0h.
    private static func middle(_ key: UInt8) -> Key? {
        let controls: [UInt8: UInt16] = [
            0x47: 0x77E0, 0x48: 0x8DE0, 0x49: 0x84E0, 0x4B: 0x73E0, 0x4D: 0x74E0, 0x4F: 0x75E0, 0x50: 0x91E0,
            0x51: 0x76E0, 0x52: 0x92E0, 0x53: 0x93E0,
        ]
        switch key {
        case 0x1C: return Key(plain: 0xE00D, shift: 0xE00D, control: 0xE00A, alt: 0xA600)
        case 0x35: return Key(plain: 0xE02F, shift: 0xE02F, control: 0x9500, alt: 0xA400)
        default:
            guard let control = controls[key] else { return nil }
            let plain = UInt16(key) << 8 | 0xE0
            return Key(plain: plain, shift: plain, control: control, alt: (UInt16(key) + 0x50) << 8)
        }
    }
}
