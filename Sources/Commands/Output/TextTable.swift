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
    var lines: [StyledLine] { lines(width: .max, dropping: []) }

    /// - Parameter dispensable: the columns that are left out, the first of them first, where all are wider than
    ///   `width`; a last line names them.
    func lines(width: Int, dropping dispensable: [Int]) -> [StyledLine] {
        let all = [headings.map { StyledLine.Span($0, .heading) }] + rows
        let widths = headings.indices.map { column in
            all.map { column < $0.count ? $0[column].text.columns : 0 }.max() ?? 0
        }
        var whole = widths.reduce(2 * (headings.count - 1), +)
        var dropped: Set<Int> = []
        for column in dispensable where whole > width {
            dropped.insert(column)
            whole -= widths[column] + 2
        }
        let lines = all.map { cells in
            var line = StyledLine()
            let kept = cells.indices.filter { !dropped.contains($0) }
            for column in kept {
                let cell = cells[column]
                let gap = String(repeating: " ", count: max(0, widths[column] - cell.text.columns))
                if column != kept.first { line.append("  ") }
                if rightAligned.contains(column) { line.append(gap) }
                line.append(cell.text, cell.style)
                if !rightAligned.contains(column), column != kept.last { line.append(gap) }
            }
            return line
        }
        guard !dropped.isEmpty else { return lines }
        let names = dropped.sorted().map { headings[$0] }.joined(separator: ", ")
        return lines + [StyledLine("no room for: \(names)", .dim)]
    }
}
