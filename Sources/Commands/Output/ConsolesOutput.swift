import DebugTarget
import Debugger

/// `info console`: what the guest wrote.
public struct ConsolesOutput: CommandOutput, Hashable {
    public struct Console: Sendable, Hashable, Encodable {
        /// "e9" or "com1".
        public var name: String
        /// Bytes the guest wrote in all.
        public var total: UInt64
        /// The last of them; what is not UTF-8 is replaced.
        public var text: String
    }

    public var consoles: [Console]
    /// What a guest shows through its BIOS is on another output.
    private var hasScreen = false

    private enum CodingKeys: String, CodingKey { case consoles }

    init(consoles: [Console]) { self.consoles = consoles }

    init(_ target: any ConsoleProviding) {
        hasScreen = (target as? any ScreenProviding)?.textScreen != nil
        consoles = target.consoles.compactMap { name in
            target.consoleOutput(name).map { output in
                Console(
                    name: name.rawValue, total: output.total,
                    text: String(decoding: output.bytes, as: UTF8.self))
            }
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var result: [StyledLine] = []
        for console in consoles where console.total > 0 {
            var head = StyledLine(console.name, .heading)
            head.append(": \(counted(console.total, "byte"))", .dim)
            if console.total > UInt64(console.text.utf8.count) { head.append(", the last of them:", .dim) }
            result.append(head)
            result += consoleLines(console.text).map { StyledLine("  " + $0) }
        }
        guard result.isEmpty else { return result }
        return [
            StyledLine(
                hasScreen
                    ? "The guest has written nothing to its ports; `info screen` shows its screen."
                    : "The guest has written nothing.")
        ]
    }
}

/// Text that a guest wrote, in lines that are safe to show. CR LF, LF CR and LF all end a line.
func consoleLines(_ text: String) -> [String] {
    var lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        var scalars = line
        if scalars.first == "\r" { scalars = scalars.dropFirst() }
        if scalars.last == "\r" { scalars = scalars.dropLast() }
        return String(String.UnicodeScalarView(scalars))
    }
    if lines.last == "" { lines.removeLast() }
    return lines
}
