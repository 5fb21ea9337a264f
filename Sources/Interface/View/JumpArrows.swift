import GuestView

/// The arrows beside the code: each direct jump's line and the line it goes to.
struct JumpArrows {
    /// A jump with both ends in sight, or one that leaves it.
    private struct Arrow {
        var source: Int
        /// The row it ends at: the target's, or the last one in its direction.
        var end: Int
        var isWithin: Bool
        var isPC: Bool
        var isTaken: Bool?
        var lane = 0
        var rows: ClosedRange<Int> { min(source, end)...max(source, end) }
    }

    private var arrows: [Arrow] = []
    let lanes: Int
    /// Columns that they take, arrowheads included, whether there are arrows or not: code stays where it is.
    var width: Int { lanes + 1 }

    /// - Parameters:
    ///   - rows: that are shown.
    ///   - limit: of lanes. A jump that finds none free has no arrow; the next instruction's comes first, then
    ///     the shortest.
    init(_ lines: [CodeWindow.Line], rows: Int, limit: Int) {
        var found: [Arrow] = []
        let last = min(lines.count, rows) - 1
        for (row, line) in lines.prefix(rows).enumerated() {
            guard let jump = line.jump else { continue }
            var arrow = Arrow(
                source: row, end: row, isWithin: true, isPC: line.isPC, isTaken: line.willBranch)
            switch jump {
            case .line(let target) where target <= last: arrow.end = target
            case .line, .down:
                arrow.end = last
                arrow.isWithin = false
            case .up:
                arrow.end = 0
                arrow.isWithin = false
            }
            // Of those that leave the pane only the one about to run is drawn: the others say nothing.
            if arrow.isWithin || arrow.isPC { found.append(arrow) }
        }
        found.sort { a, b in
            a.isPC != b.isPC ? a.isPC : (a.rows.count, a.source) < (b.rows.count, b.source)
        }
        for var arrow in found {
            let taken = Set(arrows.filter { $0.rows.overlaps(arrow.rows) }.map(\.lane))
            guard let lane = (0..<limit).first(where: { !taken.contains($0) }) else { continue }
            arrow.lane = lane
            arrows.append(arrow)
        }
        lanes = limit
    }

    /// Draws them from column `x` on; lane 0 is the one nearest to the code.
    func draw(at x: Int, _ brush: inout Brush) {
        // The next instruction's is drawn last, over the others.
        for arrow in arrows.reversed() {
            let look: Look =
                !arrow.isPC ? .dim : arrow.isTaken == false ? Look(.plain) : Look(.good, .bold)
            let column = x + lanes - 1 - arrow.lane
            let goesDown = arrow.end >= arrow.source
            for row in arrow.rows where row != arrow.source && (row != arrow.end || !arrow.isWithin) {
                brush.go(column, row)
                brush.put(scalar: 0x2502, look)
            }
            brush.go(column, arrow.source)
            if arrow.source == arrow.end {
                // A jump to itself.
                brush.put(scalar: 0x2500, look)
            } else {
                brush.put(scalar: goesDown ? 0x250C : 0x2514, look)
            }
            line(from: brush.x, to: x + lanes + 1, head: arrow.source == arrow.end, look, &brush)
            if !arrow.isWithin {
                brush.go(column, arrow.end)
                if arrow.end != arrow.source { brush.put(scalar: goesDown ? 0x76 : 0x5E, look) }
            } else if arrow.source != arrow.end {
                brush.go(column, arrow.end)
                brush.put(scalar: goesDown ? 0x2514 : 0x250C, look)
                line(from: brush.x, to: x + lanes + 1, head: true, look, &brush)
            }
        }
    }

    private func line(from x: Int, to end: Int, head: Bool, _ look: Look, _ brush: inout Brush) {
        for column in x..<max(x, end) {
            brush.go(column, brush.y)
            brush.put(scalar: head && column == end - 1 ? 0x3E : 0x2500, look)
        }
    }
}
