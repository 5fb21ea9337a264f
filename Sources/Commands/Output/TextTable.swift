/// Cells in aligned columns under a heading.
struct TextTable {
    private let headings: [String]
    private let rightAligned: Set<Int>
    private var rows: [[StyledLine.Span]] = []

    /// - Parameter rightAligned: the columns of numbers, which end at the same place.
    init(_ headings: [String], rightAligned: Set<Int> = []) {
        self.headings = headings
        self.rightAligned = rightAligned
    }

    mutating func add(_ cells: [StyledLine.Span]) { rows.append(cells) }

    /// The heading and the rows; two spaces between columns, none at the ends.
    var lines: [StyledLine] {
        let all = [headings.map { StyledLine.Span($0, .heading) }] + rows
        let widths = headings.indices.map { column in
            all.map { column < $0.count ? $0[column].text.columns : 0 }.max() ?? 0
        }
        return all.map { cells in
            var line = StyledLine()
            for (column, cell) in cells.enumerated() {
                let gap = String(repeating: " ", count: max(0, widths[column] - cell.text.columns))
                if column > 0 { line.append("  ") }
                if rightAligned.contains(column) { line.append(gap) }
                line.append(cell.text, cell.style)
                if !rightAligned.contains(column), column < cells.count - 1 { line.append(gap) }
            }
            return line
        }
    }
}
