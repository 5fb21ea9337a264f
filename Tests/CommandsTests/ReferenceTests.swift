import Foundation
import Testing

@testable import Commands

@Suite struct ReferenceTests {
    /// README carries the reference between two marks; `kvmscope --command-reference` prints what belongs there.
    @Test func readmeHasTheTable() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let data = try Data(contentsOf: URL(filePath: "/" + root + "/README.md"))
        let readme = String(decoding: data, as: UTF8.self)
        let parts = readme.split(separator: "<!-- commands -->", omittingEmptySubsequences: false)
        try #require(parts.count == 2)
        let inner = parts[1].split(separator: "<!-- /commands -->", omittingEmptySubsequences: false)
        try #require(inner.count == 2)
        let expected = CommandTable.standard.reference
        #expect(
            String(inner[0]).trimmingCharacters(in: .newlines) == expected.trimmingCharacters(in: .newlines),
            "put the output of `kvmscope --command-reference` between README's marks")
    }

    @Test func referenceNamesEveryCommand() {
        let reference = CommandTable.standard.reference
        for command in CommandTable.standard.commands {
            #expect(reference.contains("| `\(command.usage)`"))
            for alias in command.aliases { #expect(reference.contains("`\(alias)`")) }
        }
    }
}
