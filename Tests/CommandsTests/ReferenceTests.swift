import Foundation
import Testing

@testable import Commands

@Suite struct ReferenceTests {
    private static let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/kvmscope/kvmscope.docc/CommandReference.md")

    /// With KVMSCOPE_RECORD=1 in the environment the page is written, and the test fails all the same.
    @Test func theManualHasTheTable() throws {
        let expected = CommandTable.standard.reference
        if ProcessInfo.processInfo.environment["KVMSCOPE_RECORD"] != nil {
            try expected.write(to: Self.page, atomically: true, encoding: .utf8)
            Issue.record("wrote \(Self.page.lastPathComponent); run again without KVMSCOPE_RECORD")
            return
        }
        let written = try String(contentsOf: Self.page, encoding: .utf8)
        let difference = lines(expected).difference(from: lines(written))
        #expect(
            written == expected,
            """
            the command table has changed: KVMSCOPE_RECORD=1 swift test --filter ReferenceTests writes the page anew
            \(difference)
            """)
    }

    private func lines(_ text: String) -> [Substring] {
        text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    @Test func referenceNamesEveryCommand() {
        let reference = CommandTable.standard.reference
        for command in CommandTable.standard.commands {
            #expect(reference.contains("| `\(command.usage.tableCell)`"))
            for alias in command.aliases { #expect(reference.contains("`\(alias.tableCell)`")) }
        }
    }

    /// A `|` in a command's arguments is no end of a cell.
    @Test func barsAreEscaped() {
        #expect("step [N | all]|".tableCell == #"step [N \| all]\|"#)
        #expect(CommandTable.standard.commands.filter { $0.usage.contains("|") }.count > 10)
        #expect(
            CommandTable.standard.reference.contains(#"| `info msr [NAME\|INDEX...]` ▶ | `msr` `rdmsr` |"#))
    }
}
