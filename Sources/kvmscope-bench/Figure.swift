import Interface

/// One thing measured, beside what it is held to.
struct Figure {
    enum Line {
        /// A ratio of rates, ours to the bare C loop's: at least this.
        case atLeast(Double)
        /// A cost in the figure's unit: under this.
        case under(Double)
        /// Shown, and held to nothing.
        case reported
    }
    var name: String
    var value: Double
    var unit: String
    var line: Line
    /// What the value was made from: medians, in the order to be shown.
    var parts: [(name: String, value: Double, unit: String)]

    var isReached: Bool {
        switch line {
        case .atLeast(let least): value >= least
        case .under(let most): value < most
        case .reported: true
        }
    }
}

extension [Figure] {
    /// A line each: the figure, the line it has to reach, and its parts.
    var table: String {
        let rows = map { figure -> [String] in
            let line =
                switch figure.line {
                case .atLeast(let least): "at least \(decimal(least))"
                case .under(let most): "under \(decimal(most))"
                case .reported: ""
                }
            let parts = figure.parts.map { "\($0.name) \(decimal($0.value)) \($0.unit)" }
            return [
                figure.name, decimal(figure.value) + (figure.unit.isEmpty ? "" : " \(figure.unit)"), line,
                line.isEmpty ? "shown" : figure.isReached ? "reached" : "MISSED",
                parts.joined(separator: ", "),
            ]
        }
        let all = [["work", "value", "line", "", "medians"]] + rows
        let widths = (0..<4).map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let head = (0..<4).map { row[$0] + String(repeating: " ", count: widths[$0] - row[$0].count) }
            return (head + [row[4]]).joined(separator: "  ")
        }.joined(separator: "\n")
    }

    /// One object on one line: `{"figures": [{"name", "value", "unit", "line", "reached", "medians"}]}`.
    var json: String {
        let objects = map { figure -> String in
            let line =
                switch figure.line {
                case .atLeast(let least): "{\"atLeast\":\(least)}"
                case .under(let most): "{\"under\":\(most)}"
                case .reported: "null"
                }
            let medians = figure.parts.map {
                "{\"name\":\"\($0.name)\",\"unit\":\"\($0.unit)\",\"value\":\(decimal($0.value))}"
            }
            return
                "{\"line\":\(line),\"medians\":[\(medians.joined(separator: ","))],\"name\":\"\(figure.name)\","
                + "\"reached\":\(figure.isReached),\"unit\":\"\(figure.unit)\",\"value\":\(decimal(figure.value))}"
        }
        return "{\"figures\":[\(objects.joined(separator: ","))]}"
    }
}

/// Three decimals, which is more than two runs agree on.
func decimal(_ value: Double) -> String {
    guard value.isFinite else { return "0" }
    let thousandths = Int64((value.magnitude * 1000).rounded())
    let fraction = String(thousandths % 1000)
    return (value < 0 ? "-" : "") + "\(thousandths / 1000)."
        + String(repeating: "0", count: 3 - fraction.count) + fraction
}

/// The middle value; of an even number, the mean of the middle two.
func median(_ values: [Double]) -> Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
