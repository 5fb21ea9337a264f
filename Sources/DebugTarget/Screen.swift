/// A target whose guest has a text screen.
public protocol ScreenProviding: Target {
    /// What is on it now; nil where there is none. Safe from any thread.
    var textScreen: ScreenContents? { get }
}

/// A text screen as its guest has it.
public struct ScreenContents: Sendable, Hashable {
    /// A character of code page 437, and its colours: bits 0 to 3 the foreground, 4 to 6 the background, 7 blinks.
    public struct Cell: Sendable, Hashable {
        public var character: UInt8
        public var attribute: UInt8
        public init(character: UInt8, attribute: UInt8) {
            self.character = character
            self.attribute = attribute
        }
    }
    public var columns: Int
    public var rows: Int
    /// Row by row: `columns` times `rows`.
    public var cells: [Cell]
    /// The cell that the cursor is at; nil where it is hidden, or elsewhere.
    public var cursor: Int?
    /// Dots are shown and no text: then there are no cells.
    public var graphics: Graphics?

    /// A graphics mode.
    public struct Graphics: Sendable, Hashable {
        /// As INT 10h numbers it; nil where the guest set it by the adapter's registers.
        public var mode: UInt8?
        /// In dots; 0 where that is not known.
        public var width: Int
        public var height: Int
        public var colors: Int
        /// The BIOS draws dots and characters in it.
        public var isDrawn: Bool
        public init(mode: UInt8?, width: Int, height: Int, colors: Int, isDrawn: Bool) {
            self.mode = mode
            self.width = width
            self.height = height
            self.colors = colors
            self.isDrawn = isDrawn
        }
    }

    public init(_ graphics: Graphics) {
        self.init(columns: 0, rows: 0, cells: [], cursor: nil)
        self.graphics = graphics
    }

    public init(columns: Int, rows: Int, cells: [Cell], cursor: Int?) {
        self.columns = columns
        self.rows = rows
        self.cells = cells
        self.cursor = cursor
    }

    /// One row; empty for one that there is not.
    public func row(_ number: Int) -> ArraySlice<Cell> {
        guard (0..<rows).contains(number), cells.count >= rows * columns else { return [] }
        return cells[number * columns..<(number + 1) * columns]
    }
}

/// Code page 437, the characters of a PC.
public enum CodePage437 {
    /// Those that are not ASCII, from 80h on.
    private static let upper = Array(
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ "
    )
    /// Those that are control characters elsewhere.
    private static let lower = Array(" ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼")

    /// What a screen shows for a byte.
    public static func character(_ byte: UInt8) -> Character {
        switch byte {
        case 0x00..<0x20: lower[Int(byte)]
        case 0x7F: "⌂"
        case 0x80...: upper[Int(byte) - 0x80]
        default: Character(Unicode.Scalar(byte))
        }
    }
}

/// A target whose guest has a keyboard.
public protocol KeyTyping: Target {
    /// False for a machine without one.
    var hasKeyboard: Bool { get }
    /// The keys that have names.
    var keyNames: [String] { get }
    /// Presses and releases keys; nil where all were typed, else none was.
    func type(_ keys: [TypedKey]) -> KeyTypingFailure?
}

/// Something that a user types.
public enum TypedKey: Sendable, Hashable {
    /// An ASCII character; CR is Enter.
    case byte(UInt8)
    /// As `enter` or `f2`.
    case named(String)
}

/// Why nothing was typed.
public enum KeyTypingFailure: Error, Sendable, Hashable {
    case noKeyboard
    /// No key gives this one of them.
    case noKey(place: Int)
    /// The guest has not read what was typed before.
    case full
}
