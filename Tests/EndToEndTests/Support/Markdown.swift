import Foundation

/// A Markdown page as code hosts read it (GitHub Flavored Markdown), as far as this package's pages use it.
struct Markdown {
    struct Fence {
        var language: String
        var lines: [String]
        /// The heading that it stands under.
        var section: String
    }

    struct Table {
        /// The line of its header in the file, from 1.
        var line: Int
        var header: [String]
        var delimiter: [String]
        /// The cells of each row, with `\|` as the `|` that it stands for.
        var rows: [[String]]
        /// The heading that it stands under.
        var section: String
    }

    let lineCount: Int
    private(set) var fences: [Fence] = []
    private(set) var tables: [Table] = []
    private(set) var headings: [String] = []
    /// What is neither a fence's nor within a code span, line by line.
    private(set) var prose: [String] = []

    init(_ text: String) {
        let lines = text.components(separatedBy: "\n")
        lineCount = lines.last == "" ? lines.count - 1 : lines.count
        var fence: Fence?
        var isTable = false
        for (index, line) in lines.enumerated() {
            let isRow = fence == nil && line.hasPrefix("|")
            defer { isTable = isRow }
            if line.hasPrefix("```") {
                if let ended = fence { fences.append(ended) }
                fence =
                    fence == nil
                    ? Fence(language: String(line.dropFirst(3)), lines: [], section: headings.last ?? "")
                    : nil
            } else if fence != nil {
                fence?.lines.append(line)
            } else {
                if let level = line.firstIndex(where: { $0 != "#" }), level > line.startIndex,
                    line[level] == " "
                {
                    headings.append(line[level...].trimmingCharacters(in: .whitespaces))
                }
                prose.append(Self.withoutSpans(line))
            }
            guard isRow else { continue }
            let cells = Self.cells(line)
            if !isTable {
                tables.append(
                    Table(
                        line: index + 1, header: cells, delimiter: [], rows: [], section: headings.last ?? "")
                )
            } else if tables[tables.count - 1].delimiter.isEmpty {
                tables[tables.count - 1].delimiter = cells
            } else {
                tables[tables.count - 1].rows.append(cells)
            }
        }
    }

    /// A page of this package; an empty one where the sources are not there.
    init(path: String) {
        let file = Built.packageRoot.appending(path: path)
        self.init((try? String(contentsOf: file, encoding: .utf8)) ?? "")
    }

    /// The targets of links and images, as they are written.
    var links: [String] {
        let text = prose.joined(separator: "\n")
        return text.matches(of: /\[[^\]]*\]\(([^)\s]+)\)/).map { String($0.1) }
    }

    /// What `#...` after the page's name may be.
    var anchors: [String] {
        headings.map { heading in
            String(
                heading.lowercased().compactMap { letter -> Character? in
                    if letter == " " { return "-" }
                    return letter.isLetter || letter.isNumber || letter == "-" || letter == "_" ? letter : nil
                })
        }
    }

    /// The cells of a row. Every `|` ends one, within a code span too, but for `\|`.
    static func cells(_ row: String) -> [String] {
        var cells = [""]
        var isEscaped = false
        for letter in row.trimmingCharacters(in: .whitespaces) {
            switch letter {
            case "|" where isEscaped: cells[cells.count - 1].append("|")
            case "|": cells.append("")
            default:
                if isEscaped { cells[cells.count - 1].append("\\") }
                if letter != "\\" { cells[cells.count - 1].append(letter) }
            }
            isEscaped = letter == "\\"
        }
        // What is outside the first and the last bar.
        return cells.dropFirst().dropLast().map { $0.trimmingCharacters(in: .whitespaces) }
    }

    /// The code spans of a text.
    static func spans(_ text: some StringProtocol) -> [String] {
        text.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }

    private static func withoutSpans(_ line: String) -> String {
        line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 0 }.map { String($0.element) }.joined()
    }
}
