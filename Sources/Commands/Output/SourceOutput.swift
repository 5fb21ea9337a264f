import Debugger
import Symbols

/// A source line and its code.
public struct SourceRow: Sendable, Hashable, Encodable {
    /// As the symbols have it.
    public var path: String
    public var line: Int
    /// Where its code begins and ends, linear.
    public var start: Hex
    public var end: Hex
    /// The symbol that the code belongs to.
    public var symbol: String?
    /// Absent where the source file was not found.
    public var text: String?

    init(_ line: SourceLine, text: Substring?, _ table: SymbolTable) {
        path = line.path
        self.line = line.line
        start = Hex(line.start)
        end = Hex(line.end)
        symbol = table.place(at: line.start)?.description
        self.text = text.map(String.init)
    }
}

/// `info line`.
public struct LineInfo: CommandOutput, Hashable {
    public var lines: [SourceRow]

    public func lines(width: Int) -> [StyledLine] {
        lines.flatMap { row in
            var head = StyledLine("\(row.path):\(row.line)", .heading)
            head.append(" is ")
            head.append("\(row.start)", .address)
            head.append(" to ")
            head.append("\(row.end)", .address)
            if let symbol = row.symbol {
                head.append(", ")
                head.append(symbol, .symbol)
            }
            return [head] + (row.text.map { [sourceText(row.line, $0, isCurrent: false, digits: 5)] } ?? [])
        }
    }
}

/// `list`.
public struct SourceListing: CommandOutput, Hashable {
    public var path: String
    /// The number of the first line.
    public var first: Int
    /// The line that the next instruction comes of, if it is in this file.
    public var current: Int?
    public var lines: [String]

    public func lines(width: Int) -> [StyledLine] {
        let digits = max(5, String(first + lines.count).count)
        return [StyledLine(path, .heading)]
            + lines.enumerated().map { offset, text in
                sourceText(first + offset, text, isCurrent: first + offset == current, digits: digits)
            }
    }
}

/// `directory`.
public struct SourceDirectories: CommandOutput, Hashable {
    public var directories: [String]

    public func lines(width: Int) -> [StyledLine] {
        guard !directories.isEmpty else {
            return [StyledLine("Source files are looked for under their own paths alone.")]
        }
        return [StyledLine("Source files are looked for under their own paths, and in:")]
            + directories.map { StyledLine("  " + $0) }
    }
}

/// A line of a file with its number. Tabs go to every eighth column.
func sourceText(_ number: Int, _ text: String, isCurrent: Bool, digits: Int) -> StyledLine {
    var line = StyledLine(isCurrent ? "=> " : "   ", .pc)
    line.append(String(number).leftPadded(digits) + "  ", .dim)
    var shown = ""
    var column = 0
    for character in text {
        let piece = character == "\t" ? String(repeating: " ", count: 8 - column % 8) : String(character)
        shown += piece
        column += piece.count
    }
    line.append(shown, isCurrent ? .pc : .plain)
    return line
}
