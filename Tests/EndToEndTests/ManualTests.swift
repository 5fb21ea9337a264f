import Foundation
import Testing

/// README and the manual, as a code host shows them.
@Suite struct ManualTests {
    private static let manual = "Sources/kvmscope/kvmscope.docc"

    static let pages: [String] = {
        let files = try? FileManager.default.contentsOfDirectory(
            atPath: Built.packageRoot.appending(path: manual).path)
        let names = (files ?? []).filter { $0.hasSuffix(".md") }.sorted()
        return ["README.md"] + names.map { "\(manual)/\($0)" }
    }()

    @Test func thePagesAreThere() { #expect(Self.pages.count >= 7, "\(Self.pages)") }

    /// A row with more cells than its header loses the rest of its text.
    @Test(arguments: pages)
    func everyRowHasTheCellsOfItsHeader(_ page: String) {
        for table in Markdown(path: page).tables {
            #expect(!table.rows.isEmpty, "\(page):\(table.line)")
            #expect(table.delimiter.allSatisfy { $0.contains("---") }, "\(page):\(table.line)")
            for (index, row) in ([table.delimiter] + table.rows).enumerated() {
                #expect(row.count == table.header.count, "\(page):\(table.line + 1 + index): \(row)")
            }
        }
    }

    @Test(arguments: pages)
    func everyLinkLeadsSomewhere(_ page: String) throws {
        let folder = Built.packageRoot.appending(path: page).deletingLastPathComponent()
        for link in Markdown(path: page).links where !link.hasPrefix("https://") {
            let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
            let file =
                parts[0].isEmpty
                ? Built.packageRoot.appending(path: page) : folder.appending(path: String(parts[0]))
            let text = try? String(contentsOf: file.standardizedFileURL, encoding: .utf8)
            #expect(text != nil, "\(page) links to \(link)")
            guard parts.count == 2, let text else { continue }
            #expect(Markdown(text).anchors.contains(String(parts[1])), "\(page) links to \(link)")
        }
    }

    /// The manual's first page leads to every other, and README to all that a user reads.
    @Test func everyPageIsFound() {
        let listed = Set(Markdown(path: "\(Self.manual)/kvmscope.md").links)
        let inReadme = Set(Markdown(path: "README.md").links)
        for page in Self.pages.dropFirst() where !page.hasSuffix("/kvmscope.md") {
            let name = page.split(separator: "/").last.map(String.init) ?? page
            #expect(listed.contains(name), "kvmscope.md does not list \(name)")
            #expect(inReadme.contains(page), "README.md does not list \(name)")
        }
    }

    @Test func readmeIsShort() {
        let lines = Markdown(path: "README.md").lineCount
        #expect(
            lines > 50 && lines <= 150, "README has \(lines) lines; what is more goes to a page of the manual"
        )
    }

    /// What the checks above stand on.
    @Test func markdownIsReadAsCodeHostsReadIt() {
        let page = Markdown(
            """
            # A `b` c-d, e
            | a `x\\|y` | b |
            |---|---|
            | `p|q` | r |
            | s\\n | t |

            ```sh
            | no | table |
            [no](link)
            ```
            See [this
            page](other.md#some) and `[not](that.md)`.
            """)
        #expect(page.lineCount == 12)
        #expect(page.anchors == ["a-b-c-d-e"])
        #expect(page.tables.count == 1)
        #expect(page.tables[0].header == ["a `x|y`", "b"])
        #expect(page.tables[0].rows == [["`p", "q`", "r"], ["s\\n", "t"]])
        #expect(page.links == ["other.md#some"])
        #expect(page.fences.map(\.lines) == [["| no | table |", "[no](link)"]])
        #expect(page.fences.first?.section == "A `b` c-d, e")
    }
}
