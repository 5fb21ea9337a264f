/// One character cell of a screen: a scalar and how it looks.
public struct Cell: Sendable, Hashable {
    /// The Unicode scalar; 0 is the second half of a wide character, drawn by the cell before it.
    public var scalar: UInt32
    public var look: Look

    public init(_ scalar: UInt32 = 0x20, _ look: Look = Look()) {
        self.scalar = scalar
        self.look = look
    }

    public static let blank = Cell()
}

/// How a cell looks. Nothing is told by the role alone: where it carries meaning, an attribute or a mark does too.
public struct Look: Sendable, Hashable {
    public var role: Role
    public var attributes: Attributes

    public init(_ role: Role = .plain, _ attributes: Attributes = []) {
        self.role = role
        self.attributes = attributes
    }

    /// What the terminal does to a cell, colours or not.
    public struct Attributes: OptionSet, Sendable, Hashable {
        public var rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let bold = Attributes(rawValue: 1)
        public static let underline = Attributes(rawValue: 2)
        public static let reverse = Attributes(rawValue: 4)
        public static let dim = Attributes(rawValue: 8)
    }

    /// What a cell means; the terminal gives it a colour, where it has any.
    public enum Role: UInt8, Sendable, Hashable, CaseIterable {
        case plain, dim, border, title, name, changed, address, mnemonic, symbol, pc, breakpoint
        case error, warning, good, prompt, key, console
    }

    static let plain = Look()
    static let dim = Look(.dim, .dim)
    static let border = Look(.border)
    static let title = Look(.title, .bold)
    static let name = Look(.name)
    static let changed = Look(.changed, .bold)
    static let address = Look(.address)
    static let error = Look(.error, .bold)
    static let warning = Look(.warning)
    static let good = Look(.good, .bold)
    static let unread = Look(.error)
}

/// How many columns and rows.
public struct Size: Sendable, Hashable {
    public var width: Int
    public var height: Int
    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}

/// A part of a screen, in cells; (0, 0) is the upper left.
public struct Rect: Sendable, Hashable {
    public var x: Int
    public var y: Int
    public var width: Int
    public var height: Int
    public init(x: Int, y: Int, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = max(0, width)
        self.height = max(0, height)
    }

    public var maxX: Int { x + width }
    public var maxY: Int { y + height }
    public func contains(x: Int, y: Int) -> Bool { x >= self.x && x < maxX && y >= self.y && y < maxY }
}
