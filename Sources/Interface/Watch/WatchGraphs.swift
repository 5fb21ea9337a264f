import GuestView
import Monitor

extension WatchModel {
    /// The numbers of the samples of each column, the newest on the right: two a column.
    private func columns(_ width: Int) -> [Range<Int>] {
        guard width > 0, let newest else { return [] }
        return (0..<width).map { column in
            let first = newest - (width - 1 - column) * 2 - 1
            return first..<first + 2
        }
    }

    /// The column of the sample that is shown, where that is not simply the newest.
    private func cursorColumn(_ width: Int) -> Int? {
        guard let cursor, let newest else { return nil }
        let column = width - 1 - (newest - cursor) / 2
        return column >= 0 ? column : nil
    }

    // MARK: Exits a second

    func drawGraph(_ brush: inout Brush) {
        let width = brush.width - Self.axisWidth
        let height = brush.height
        let columns = columns(width)
        let rates = columns.map { $0.map { series[$0]?.exitsPerSecond } }
        let known = rates.joined().compactMap { $0 }
        let peak = known.max() ?? 0
        brush.put("exits/s ", .dim)
        if height > 1 {
            brush.go(0, 1)
            brush.put(known.isEmpty ? "-" : rate(peak), endingAt: Self.axisWidth - 1, .title)
        }
        if height > 2 {
            brush.go(0, height - 1)
            brush.put("0", endingAt: Self.axisWidth - 1, .dim)
        }
        guard peak > 0 else {
            brush.go(Self.axisWidth, height - 1)
            brush.put(
                known.isEmpty
                    ? (newest == nil ? "waiting for the first sample" : "exits are not known: h says why")
                    : noExits,
                .dim)
            markCursor(width, &brush)
            return
        }
        for (column, pair) in rates.enumerated() {
            let levels = pair.map { rate in
                rate.map { Int(($0 / peak * Double(height * 4)).rounded(.up)) } ?? 0
            }
            for row in 0..<height {
                let floor = (height - 1 - row) * 4
                let dots = Self.braille(left: levels[0] - floor, right: levels[1] - floor)
                guard dots != 0 else { continue }
                brush.go(Self.axisWidth + column, row)
                brush.put(scalar: 0x2800 + dots, Look(.good))
            }
            // What is not known is no valley.
            if pair.allSatisfy({ $0 == nil }),
                columns[column].contains(where: { history.numbers.contains($0) })
            {
                brush.go(Self.axisWidth + column, height - 1)
                brush.put("-", .dim)
            }
        }
        markPeak(rates, peak, width, &brush)
        markCursor(width, &brush)
    }

    private var noExits: String {
        guard selection.reason == nil, let exitFilter else { return "no exits" }
        return Self.nothingMatches(exitFilter)
    }

    /// A mark over the column of the highest point.
    private func markPeak(_ rates: [[Double?]], _ peak: Double, _ width: Int, _ brush: inout Brush) {
        guard let column = rates.lastIndex(where: { $0.contains(peak) }) else { return }
        brush.go(Self.axisWidth + column, 0)
        brush.put(scalar: 0x25B2, Look(.title, .bold))
    }

    private func markCursor(_ width: Int, _ brush: inout Brush) {
        guard let column = cursorColumn(width) else { return }
        for row in 0..<brush.height {
            brush.add(.reverse, from: Self.axisWidth + column, to: Self.axisWidth + column + 1, row: row)
        }
    }

    /// Dots of a column of four, filled from below: the bits of Unicode's braille patterns.
    static func braille(left: Int, right: Int) -> UInt32 {
        let leftDots: [UInt32] = [0x40, 0x04, 0x02, 0x01]
        let rightDots: [UInt32] = [0x80, 0x20, 0x10, 0x08]
        var dots: UInt32 = 0
        for level in 0..<4 {
            if level < left { dots |= leftDots[level] }
            if level < right { dots |= rightDots[level] }
        }
        return dots
    }

    // MARK: The heat map

    func drawHeat(_ brush: inout Brush) {
        let height = brush.height
        let width = brush.width - Self.axisWidth
        guard height > 1 else { return }
        let columns = columns(width).map { numbers in
            numbers.reduce(into: Histogram()) { sum, number in
                if let point = series[number] { sum.add(point.times) }
            }
        }
        brush.put("latency", .dim)
        let filled = columns.flatMap { $0.filled.map(\.bucket) }
        guard let low = filled.min(), let high = filled.max() else {
            brush.go(Self.axisWidth, 0)
            brush.put(series.isTimed || !filtersInForce.isEmpty ? "" : "no times yet", .dim)
            return
        }
        // As many powers of two a row as the rows need.
        let rows = height - 1
        let step = max(1, (high - low + rows) / rows)
        let top = min(rows, (high - low) / step + 1)
        for line in 0..<top {
            let buckets = low + line * step...min(63, low + (line + 1) * step - 1)
            let row = height - 1 - line
            brush.go(0, row)
            brush.put(
                time(Histogram.range(of: buckets.lowerBound).lowerBound), endingAt: Self.axisWidth - 1, .dim)
            for (column, histogram) in columns.enumerated() {
                let count = buckets.reduce(UInt64(0)) { $0 &+ histogram[$1] }
                guard count > 0 else { continue }
                brush.go(Self.axisWidth + column, row)
                let (digit, look) = Self.shade(count)
                brush.put(scalar: digit, look)
            }
        }
        markCursor(width, &brush)
    }

    /// A cell of the heat map: how many digits the count has, and the more the stronger.
    static func shade(_ count: UInt64) -> (digit: UInt32, look: Look) {
        var digits: UInt32 = 0
        var rest = count
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        let look: Look =
            switch digits {
            case 1: Look(.dim, .dim)
            case 2: Look(.plain)
            case 3: Look(.warning)
            case 4: Look(.warning, .bold)
            default: Look(.error, [.bold, .reverse])
            }
        return (0x30 + min(9, digits), look)
    }
}

extension WatchSeries {
    /// Some sample has times.
    var isTimed: Bool { points.contains { $0.times.total > 0 } }
}
