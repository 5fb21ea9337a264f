import Foundation
import Testing

@testable import Commands

/// What other programs and guests are called, and say, is shown and does nothing.
@Suite struct HostileNameTests {
    /// Each of them drives a terminal, or makes text look like another.
    static let scalars: [Unicode.Scalar] = [
        "\u{0}", "\u{7}", "\u{A}", "\u{D}", "\u{1B}", "\u{7F}", "\u{80}", "\u{9B}", "\u{9F}", "\u{AD}",
        "\u{61C}", "\u{115F}", "\u{180E}", "\u{200B}", "\u{200E}", "\u{2028}", "\u{2029}", "\u{202E}",
        "\u{2066}", "\u{2069}", "\u{FEFF}", "\u{FFF9}", "\u{E0001}", "\u{E007F}",
    ]
    static let hostile = "vm" + String(String.UnicodeScalarView(scalars)) + "end"

    static func isHarmless(_ text: String) -> Bool {
        !text.unicodeScalars.contains { scalar in
            scalars.contains(scalar) || scalar.properties.generalCategory == .control
                || scalar.properties.generalCategory == .format
        }
    }

    @Test(arguments: scalars) func eachIsShownByNumber(_ scalar: Unicode.Scalar) throws {
        let name = "a" + String(scalar) + "b"
        var appended = StyledLine("x")
        appended.append(name)
        appended.append(name, .error)
        var table = TextTable(["A"])
        table.add([.init(name)])
        let lines = [StyledLine(name), appended, StyledLine(name.padded(20))] + table.lines
        for line in lines {
            #expect(Self.isHarmless(line.text), "\(line.text.debugDescription)")
            #expect(line.columns == line.text.count, "columns are those of what is shown")
        }
        #expect(StyledLine(name).rendered(color: false).hasPrefix("a\\"))
        #expect(name.printable.printable == name.printable)
    }

    /// Text in any script stays as it is.
    @Test(arguments: ["plain", "é字", "Ελληνικά", "עברית", "हिन्दी", "🎛", "a\u{301}"])
    func othersAreLeftAlone(_ text: String) { #expect(text.printable == text) }

    /// A reader of the JSON gets the name as it is, and a terminal that shows it gets none of those characters.
    @Test func jsonIsEscapedAndLosesNothing() throws {
        struct Line: Decodable {
            struct Result: Decodable { var message: String }
            var command: String
            var result: Result
        }
        let record = JSONRecord.line(command: Self.hostile, result: Message(Self.hostile))
        #expect(Self.isHarmless(record), "\(record)")
        let read = try JSONDecoder().decode(Line.self, from: Data(record.utf8))
        #expect(read.command == Self.hostile && read.result.message == Self.hostile)
        #expect(Self.isHarmless(JSONRecord.line(command: "x", error: CommandError(Self.hostile))))
    }

    /// Every command that shows a name from a file of symbols.
    @Test(
        arguments: [
            "info symbols", "info symbol 0x7c00", "u", "x/2i 0x7c00", "x/2a 0x7c10", "print-stack", "bt",
            "p/a $pc",
            "symbols", "step", "info blackbox", "display/i $pc", "history",
        ])
    func symbolsAreEscaped(_ line: String) throws {
        let folder = try TestFolder()
        let path = folder.path("map\u{202E}\u{1B}")
        // A line ends where it ends; all else may be in a name.
        let name = String(
            String.UnicodeScalarView(
                Self.hostile.unicodeScalars.filter { !$0.properties.isWhitespace && $0 != "\0" }))
        try Data("0000000000007c00 T \(name)\n0000000000007c02 T b\(name)\n".utf8).write(to: path)
        let driver = try Driver()
        try driver.output("symbols \"\(path.path)\"")
        let output = try driver.output(line)
        for text in output.lines(width: 100).map(\.text) { #expect(Self.isHarmless(text), "\(text)") }
        #expect(Self.isHarmless(JSONRecord.line(command: line, result: output)))
    }

    /// A name that cannot be shown as it is cannot be chosen; readline would write it to the terminal.
    @Test func suchFilesAreNotOffered() throws {
        let folder = try TestFolder()
        for name in ["image", "image\u{1B}]0;x\u{7}", "image\u{202E}"] {
            try Data("x".utf8).write(to: folder.path(name))
        }
        let typed = "source \(folder.path("im").path)"
        let found = try Driver().session.complete(typed, cursor: typed.utf8.count)
        #expect(found.candidates.map(\.text) == [folder.path("image").path])
    }
}
