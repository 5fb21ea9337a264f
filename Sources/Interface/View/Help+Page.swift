import Commands

extension Help {
    /// The keys as a page of the manual, `Keys.md`: Markdown as code hosts and DocC show it.
    ///
    /// `KVMSCOPE_RECORD=1 swift test --filter KeysPageTests` writes the page after a change.
    static var page: String {
        var text = """
            # Keys

            The keys of the screen, as F1 shows them.

            <!-- Written by: KVMSCOPE_RECORD=1 swift test --filter KeysPageTests. Edit Help.lines in Sources/Interface. -->

            """
        for chapter in chapters {
            text += "\n## \(chapter.title)\n\n| key | what it does |\n|---|---|\n"
            for row in chapter.rows {
                let keys = row.key.split(separator: "  ").map { "`\($0)`" }.joined(separator: " ")
                text += "| \(keys.tableCell) | \(row.text.tableCell) |\n"
            }
        }
        return text
    }

    private struct Chapter {
        var title: String
        var rows: [(key: String, text: String)] = []
    }

    /// The lines by heading; a line without a key goes on with the one before.
    private static var chapters: [Chapter] {
        var chapters: [Chapter] = []
        for line in lines where !line.text.isEmpty {
            if isHeading(line) {
                chapters.append(Chapter(title: line.text))
            } else if let last = chapters.indices.last {
                if line.key.isEmpty, let row = chapters[last].rows.indices.last, line.text.first != "`" {
                    chapters[last].rows[row].text += " " + line.text
                } else {
                    chapters[last].rows.append(line)
                }
            }
        }
        return chapters
    }
}
