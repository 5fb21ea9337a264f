/// Text that a script prints: with the ends of lines that it has, and no other.
public struct PrintedText: CommandOutput, Hashable {
    /// Controls but for the end of a line are shown by number.
    public let text: String

    /// - Parameter bytes: UTF-8; bytes that are none are shown by number.
    init(_ bytes: [UInt8]) {
        let valid: String? = String(validating: bytes, as: UTF8.self)
        let whole: String =
            valid
            ?? bytes.map { $0 < 0x80 ? String(Unicode.Scalar($0)) : "\\x" + Hex.digits($0, width: 2) }
            .joined()
        var result = ""
        for (index, line) in whole.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if index > 0 { result += "\n" }
            result += Self.expandingTabs(line).printable
        }
        text = result
    }

    /// Tabs go to every eighth column.
    private static func expandingTabs(_ line: Substring) -> String {
        guard line.contains("\t") else { return String(line) }
        var result = ""
        for character in line {
            result +=
                character == "\t" ? String(repeating: " ", count: 8 - result.count % 8) : String(character)
        }
        return result
    }

    public func lines(width: Int) -> [StyledLine] {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines.map { StyledLine(String($0)) }
    }
}
