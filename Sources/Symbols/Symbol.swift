/// A name for an address.
public struct Symbol: Sendable, Hashable {
    /// What a symbol names.
    public enum Kind: UInt8, Sendable, Hashable, CaseIterable {
        case function, data
        /// A label of which the file does not say what it is.
        case label
        /// A number, not an address: it does not move with its file.
        case constant
    }

    public var name: String
    /// Linear.
    public var address: UInt64
    /// In bytes; 0 where the file does not say.
    public var size: UInt64
    public var kind: Kind
    public var isGlobal: Bool

    public init(name: String, address: UInt64, size: UInt64 = 0, kind: Kind = .label, isGlobal: Bool = true) {
        self.name = name
        self.address = address
        self.size = size
        self.kind = kind
        self.isGlobal = isGlobal
    }
}

/// Where the code of a source line begins; it goes on to the next row.
package struct LineRow: Sendable, Hashable {
    var address: UInt64
    /// An index into the file's sources.
    var file: UInt32
    private var packed: UInt32

    init(address: UInt64, file: UInt32, line: UInt32, isStatement: Bool = true, endsSequence: Bool = false) {
        self.address = address
        self.file = file
        packed = min(line, LineRow.maximumLine) << 2 | (isStatement ? 2 : 0) | (endsSequence ? 1 : 0)
    }

    static let maximumLine: UInt32 = .max >> 2

    /// 0: no line of the source.
    var line: UInt32 { packed >> 2 }
    /// A good place for a breakpoint on the line.
    var isStatement: Bool { packed & 2 != 0 }
    /// No code is here: the rows before end at this address.
    var endsSequence: Bool { packed & 1 != 0 }
}

/// What a file of symbols says, at the addresses that it gives.
package struct SymbolFile: Sendable, Hashable {
    package enum Format: UInt8, Sendable, Hashable { case elf, map }

    /// Bounds for what a file can make us keep.
    static let maximumSymbols = 1 << 24
    static let maximumRows = 1 << 26
    static let maximumSources = 1 << 20
    static let maximumName = 1 << 12

    package var format: Format
    package var symbols: [Symbol] = []
    /// Paths of source files.
    package var sources: [String] = []
    package var rows: [LineRow] = []
    /// What it says things about: the lowest address, and the one after the highest.
    package var lowest: UInt64 = 0
    package var end: UInt64 = 0
    /// What could not be read of it, for people.
    package var warnings: [String] = []

    package init(_ format: Format) { self.format = format }
}

/// A file of symbols that could not be read.
public struct SymbolFileError: Error, Sendable, Hashable, CustomStringConvertible {
    public var message: String
    public var remedy: String?
    public init(_ message: String, remedy: String? = nil) {
        self.message = message
        self.remedy = remedy
    }
    public var description: String { remedy.map { "\(message); \($0)" } ?? message }
}
