import Testing

@testable import Interface

@Suite struct KeysPageTests {
    /// `KVMSCOPE_RECORD=1 swift test --filter KeysPageTests` writes the page anew.
    @Test func theManualHasTheKeys() {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
            .joined(separator: "/")
        expectRecorded(Help.page, at: root + "/Sources/kvmscope/kvmscope.docc/Keys.md", "the keys of F1")
    }

    /// Each key of F1 is in the page, and what stands in two lines there is one row.
    @Test func everyKeyIsThere() {
        for line in Help.lines where !line.key.isEmpty {
            for key in line.key.split(separator: "  ") { #expect(Help.page.contains("`\(key)`"), "\(key)") }
        }
        #expect(Help.page.contains("instructions in Code, names and values in Registers"))
        #expect(Help.page.contains("## In a pane\n"))
    }
}
