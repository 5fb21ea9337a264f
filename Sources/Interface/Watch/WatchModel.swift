package import Commands
package import Monitor

/// What happened on the screen that watches the host.
package enum WatchEvent {
    case key(Key)
    case resized(Size)
    /// One interval is over.
    case sample(MonitorSample)
    /// What was asked for could not be done.
    case problem(String)
    /// Rows, as a mouse's wheel turns them.
    case wheel(lines: Int)
    case pressed(x: Int, y: Int)
}

/// What is to be done for it.
package enum WatchEffect: Sendable, Hashable {
    case quit
    case suspend
    case redraw
    /// Seconds between samples.
    case setDelay(Double)
    case countInstructionPointers(Bool)
}

/// The screen that watches the host, as a value.
package struct WatchModel {
    /// What the table lists.
    package enum Table: Int, Sendable, Hashable, CaseIterable {
        case guests, vcpus, reasons, details

        var title: String {
            switch self {
            case .guests: "Guests"
            case .vcpus: "vCPUs"
            case .reasons: "Exits"
            case .details: "Where"
            }
        }
    }

    /// What is being typed in the last row.
    package enum Input: Sendable, Hashable {
        case filter(String)
        case guest(String)
        case delay(String)
    }

    package internal(set) var size: Size
    package let names: ExitNames
    package let badge: SourceBadge
    let symbolizer: HostReport.Symbolizer?
    package internal(set) var history = SampleHistory()
    /// What was gone into: host, guest, vCPU, reason.
    package internal(set) var selection = Selection()
    package internal(set) var table: Table
    /// Of the row that Enter goes into, in each table.
    var rows: [Table: Int] = [:]
    var sorts: [Table: Int] = [:]
    /// Those whose order is turned round.
    var inverted: Set<Table> = []
    /// The sample that is looked at; nil is the latest.
    package internal(set) var cursor: Int?
    /// The last sample that is shown while nothing moves.
    package internal(set) var frozen: Int?
    /// By the table whose rows they go over.
    package internal(set) var filters: [Table: ReasonFilter] = [:]
    package internal(set) var input: Input?
    package internal(set) var delay: Double
    package internal(set) var showsHelp = false
    var helpScroll = 0
    package internal(set) var message = ""
    /// Everything lost since the start or the last reset.
    var losses = Losses()
    /// The sample that is shown, as tables.
    package internal(set) var report: HostReport?
    /// Of what is selected, a point a sample.
    var series = WatchSeries()
    var sparks: [Int32: [Double?]] = [:]
    /// The only guest that is watched: there is nothing above it.
    let only: Int32?

    /// - Parameters:
    ///   - only: the process of the only guest to be watched; nil for all.
    ///   - filter: over exits.
    ///   - delay: seconds between samples.
    package init(
        size: Size, names: ExitNames, badge: SourceBadge, only: Int32? = nil, filter: ReasonFilter? = nil,
        delay: Double = 1, symbolizer: HostReport.Symbolizer? = nil
    ) {
        self.symbolizer = symbolizer
        self.size = size
        self.names = names
        self.badge = badge
        self.only = only
        filters[.reasons] = filter
        self.delay = delay
        selection = Selection(process: only)
        table = only == nil ? .guests : .vcpus
    }

    /// The tables that there are for what is selected.
    var tables: [Table] {
        if selection.reason != nil { return [.details] }
        if selection.thread != nil { return [.reasons, .details] }
        return selection.process == nil ? [.guests, .reasons, .details] : [.vcpus, .reasons, .details]
    }

    /// The newest sample that may be shown.
    var newest: Int? { frozen ?? (history.count == 0 ? nil : history.numbers.upperBound - 1) }

    /// The number of the sample that is shown.
    package var shown: Int? { cursor ?? newest }

    /// Makes the tables anew.
    /// - Parameter latest: those of the newest sample, where they are known.
    mutating func look(latest: HostReport? = nil) {
        guard let shown else {
            report = nil
            return
        }
        if let latest, latest.sample.number == shown {
            report = latest
        } else if report?.sample.number != shown || latest == nil {
            report = history[shown].map {
                HostReport(
                    $0, names: names, badge: badge, filter: exitFilter?.acceptsShown, symbolizer: symbolizer)
            }
        }
        series.fill(
            selection, filter: exitFilter, rows: graphFilter, history, names: names, badge: badge,
            latest: latest)
    }
}

/// The graph's points: of one selection and filter, one a sample that is kept.
struct WatchSeries {
    struct Point {
        var exitsPerSecond: Double?
        var times: Histogram
    }

    private var selection: Selection?
    private var filter: ReasonFilter?
    private var rows: WatchModel.TableFilter?
    private var first = 0
    fileprivate(set) var points: [Point] = []

    /// Adds the points of samples that are new; all of them where something else is selected.
    mutating func fill(
        _ selection: Selection, filter: ReasonFilter?, rows: WatchModel.TableFilter?,
        _ history: SampleHistory, names: ExitNames, badge: SourceBadge, latest: HostReport?
    ) {
        let numbers = history.numbers
        let end = first + points.count
        if selection != self.selection || filter != self.filter || rows?.table != self.rows?.table
            || rows?.filter != self.rows?.filter
            || !(numbers.lowerBound...numbers.upperBound).contains(end)
        {
            self.selection = selection
            self.filter = filter
            self.rows = rows
            points.removeAll()
            first = numbers.lowerBound
        }
        let known = max(0, min(numbers.lowerBound - first, points.count))
        points.removeFirst(known)
        first += known
        for number in first + points.count..<max(first + points.count, numbers.upperBound) {
            let known = latest.flatMap { $0.sample.number == number ? $0 : nil }
            guard
                let report = known
                    ?? history[number].map({
                        HostReport($0, names: names, badge: badge, filter: filter?.acceptsShown)
                    })
            else { return }
            points.append(report.point(selection, only: rows))
        }
    }

    subscript(number: Int) -> Point? {
        points.indices.contains(number - first) ? points[number - first] : nil
    }
}
