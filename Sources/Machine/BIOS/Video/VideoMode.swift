import DebugTarget

/// A mode of a VGA, as INT 10h AH=00h sets it. Source: IBM PS/2 and PC BIOS Interface Technical Reference, "Video".
struct VideoMode: Sendable, Hashable {
    /// How dots are kept in memory.
    enum Layout: Sendable, Hashable {
        case text
        /// At B8000h, two bits a dot, odd lines 8 KiB after the even ones.
        case pairs
        /// Likewise, one bit a dot.
        case bits
        /// At A0000h, bits of up to four planes at one address: not kept apart here.
        case planes
        /// At A0000h, a byte a dot.
        case bytes
    }

    var number: UInt8
    var columns: Int
    var rows: Int
    /// Lines of a character.
    var height: Int
    var pageSize: Int
    var layout: Layout
    /// Of graphics, in dots.
    var width = 0
    var lines = 0
    var colors = 0

    /// 80x25 in colours, which a machine starts in.
    static let atReset = VideoMode(
        number: 3, columns: 80, rows: 25, height: 16, pageSize: 0x1000, layout: .text)

    static func numbered(_ number: UInt8) -> VideoMode? { all.first { $0.number == number } }

    private static let all: [VideoMode] =
        [0, 1].map {
            VideoMode(number: $0, columns: 40, rows: 25, height: 16, pageSize: 0x800, layout: .text)
        }
        + [2, 3, 7].map {
            VideoMode(number: $0, columns: 80, rows: 25, height: 16, pageSize: 0x1000, layout: .text)
        }
        + [
            graphics(0x04, 40, 25, 8, 0x4000, .pairs, 320, 200, 4),
            graphics(0x05, 40, 25, 8, 0x4000, .pairs, 320, 200, 4),
            graphics(0x06, 80, 25, 8, 0x4000, .bits, 640, 200, 2),
            graphics(0x0D, 40, 25, 8, 0x2000, .planes, 320, 200, 16),
            graphics(0x0E, 80, 25, 8, 0x4000, .planes, 640, 200, 16),
            graphics(0x0F, 80, 25, 14, 0x8000, .planes, 640, 350, 2),
            graphics(0x10, 80, 25, 14, 0x8000, .planes, 640, 350, 16),
            graphics(0x11, 80, 30, 16, 0xA000, .planes, 640, 480, 2),
            graphics(0x12, 80, 30, 16, 0xA000, .planes, 640, 480, 16),
            graphics(0x13, 40, 25, 8, 0x2000, .bytes, 320, 200, 256),
        ]

    private static func graphics(
        _ number: UInt8, _ columns: Int, _ rows: Int, _ height: Int, _ pageSize: Int, _ layout: Layout,
        _ width: Int, _ lines: Int, _ colors: Int
    ) -> VideoMode {
        VideoMode(
            number: number, columns: columns, rows: rows, height: height, pageSize: pageSize, layout: layout,
            width: width, lines: lines, colors: colors)
    }

    /// The memory that setting it clears.
    var memory: Range<UInt64> {
        switch layout {
        case .text, .pairs, .bits: 0xB8000..<0xC0000
        case .planes, .bytes: 0xA0000..<0xB0000
        }
    }

    /// For those who look at the screen; nil for text.
    var graphics: ScreenContents.Graphics? {
        guard layout != .text else { return nil }
        return ScreenContents.Graphics(
            mode: number, width: width, height: lines, colors: colors, isDrawn: layout != .planes)
    }
}
