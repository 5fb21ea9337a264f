import DebugTarget

/// The dots of a graphics mode in the guest's memory: of those modes that keep them in the order of addresses.
struct GraphicsScreen {
    let mode: VideoMode
    private let memory: BIOSMemory

    /// Nil in text, and where dots lie in planes, of which this machine's memory has none.
    init?(_ memory: BIOSMemory, _ mode: VideoMode) {
        guard [.pairs, .bits, .bytes].contains(mode.layout) else { return nil }
        self.mode = mode
        self.memory = memory
    }

    /// Bits of a dot.
    private var depth: Int {
        switch mode.layout {
        case .bits: 1
        case .pairs: 2
        default: 8
        }
    }

    /// Where the line begins; `line` is within the screen.
    private func start(_ line: Int) -> UInt64 {
        switch mode.layout {
        case .pairs, .bits: 0xB8000 + UInt64((line & 1) * 0x2000 + (line >> 1) * 80)
        default: 0xA0000 + UInt64(line * mode.width)
        }
    }

    /// The byte of a dot, and how far its bits are from the lowest; nil outside the screen.
    private func place(_ x: Int, _ y: Int) -> (address: UInt64, shift: Int)? {
        guard (0..<mode.width).contains(x), (0..<mode.lines).contains(y) else { return nil }
        let perByte = 8 / depth
        return (start(y) + UInt64(x / perByte), (perByte - 1 - x % perByte) * depth)
    }

    private var mask: UInt8 { depth == 8 ? 0xFF : 1 << UInt8(depth) - 1 }

    /// Nil outside.
    func dot(_ x: Int, _ y: Int) -> UInt8? {
        guard let (address, shift) = place(x, y), let byte = memory.byte(address) else { return nil }
        return byte >> UInt8(shift) & mask
    }

    /// - Parameter combines: the colour is combined with what is there by XOR.
    func setDot(_ x: Int, _ y: Int, _ color: UInt8, combines: Bool = false) {
        guard let (address, shift) = place(x, y), let byte = memory.byte(address) else { return }
        let bits = (color & mask) << UInt8(shift)
        let kept = byte & ~(mask << UInt8(shift))
        memory.setByte(address, combines ? byte ^ bits : kept | bits)
    }

    /// Bit 7 of a colour combines it, where a dot has fewer bits.
    func combines(_ color: UInt8) -> Bool { depth < 8 && color & 0x80 != 0 }

    // MARK: characters

    /// The lines of a character, from where INT 43h and, for the upper half of modes 4 to 6, INT 1Fh point to.
    private func glyph(_ character: UInt8) -> [UInt8]? {
        var character = UInt64(character)
        var vector: UInt64 = 0x43
        if mode.layout != .bytes, character >= 0x80 {
            vector = 0x1F
            character -= 0x80
        }
        guard let pointer = memory.number(vector * 4, size: 4) else { return nil }
        let font = (pointer >> 16) << 4 + (pointer & 0xFFFF)
        return memory.bytes(font + character * UInt64(mode.height), count: mode.height)
    }

    func draw(_ character: UInt8, row: Int, column: Int, _ color: UInt8) {
        guard (0..<mode.rows).contains(row), (0..<mode.columns).contains(column), let glyph = glyph(character)
        else { return }
        let combines = combines(color)
        for (step, bits) in glyph.enumerated() {
            let line = row * mode.height + step
            guard line < mode.lines else { return }
            // Eight dots are as many bytes as a dot has bits; the first in each byte has the highest.
            var dots: UInt64 = 0
            for x in 0..<8 where bits & 0x80 >> UInt8(x) != 0 {
                let bit = x * depth
                dots |= UInt64(color & mask) << UInt64(bit / 8 * 8 + 8 - depth - bit % 8)
            }
            let address = start(line) + UInt64(column * depth)
            if combines {
                guard let old = memory.number(address, size: depth) else { continue }
                dots ^= old
            }
            memory.setNumber(address, dots, size: depth)
        }
    }

    /// Moves a window of characters up or down, and fills what becomes free; all of it with 0 lines.
    func scroll(
        by lines: Int, rows: ClosedRange<Int>, columns: ClosedRange<Int>, _ color: UInt8, up: Bool
    ) {
        // The data area may promise more rows and columns than the mode has.
        guard rows.lowerBound < mode.rows, columns.lowerBound < mode.columns else { return }
        let columns = columns.clamped(to: 0...mode.columns - 1)
        let count = columns.count * depth
        let offset = UInt64(columns.lowerBound * depth)
        let first = rows.lowerBound * mode.height
        let window = first..<min((rows.upperBound + 1) * mode.height, mode.lines)
        let distance = lines == 0 ? window.count : min(lines * mode.height, window.count)
        // The colour in each dot of a byte.
        let filler = stride(from: 0, to: 8, by: depth).reduce(UInt8(0)) {
            $0 | (color & mask) << UInt8($1)
        }
        let blank = [UInt8](repeating: filler, count: count)
        for step in 0..<window.count {
            let line = up ? window.lowerBound + step : window.upperBound - 1 - step
            let source = up ? line + distance : line - distance
            let bytes = window.contains(source) ? memory.bytes(start(source) + offset, count: count) : nil
            memory.write(start(line) + offset, bytes ?? blank)
        }
    }
}
