import Commands
import Monitor

/// A filter goes over the rows of the table that it was typed at; that over exits applies to all rates and graphs, too.
extension WatchModel {
    /// A filter, and the table whose rows it leaves or leaves out.
    typealias TableFilter = (table: Table, filter: ReasonFilter)

    /// What counts as an exit here.
    var exitFilter: ReasonFilter? { filters[.reasons] }

    /// Those that change what is on the screen now, the table's own first.
    var filtersInForce: [TableFilter] {
        var found: [TableFilter] = []
        if let own = filters[table] { found.append((table, own)) }
        // Of a single reason there is nothing that it could leave out.
        if table != .reasons, selection.reason == nil, let exits = exitFilter {
            found.append((.reasons, exits))
        }
        return found
    }

    /// The one that decides of which guests or vCPUs the graph is.
    var graphFilter: TableFilter? {
        guard table == .guests || table == .vcpus else { return nil }
        return filters[table].map { (table, $0) }
    }

    mutating func setFilter(_ new: ReasonFilter?, over table: Table) {
        filters[table] = new
        rows[table] = 0
        if table == .reasons { sparks = [:] }
        look()
    }

    /// The innermost one.
    /// - Returns: whether there was one.
    mutating func takeFilterOff() -> Bool {
        guard let inner = filtersInForce.first else { return false }
        setFilter(nil, over: inner.table)
        return true
    }

    /// What is said where a filter leaves nothing.
    static func nothingMatches(_ filter: ReasonFilter) -> String {
        "nothing matches `\(filter.pattern.printable)`; c takes the filter off"
    }

    /// The table has rows, and its filter leaves none of them.
    func isFilteredEmpty(_ table: Table) -> Bool {
        guard filters[table] != nil, let report else { return false }
        return switch table {
        case .guests: !report.guests.isEmpty
        case .vcpus: !report.vcpus(of: selection.process ?? 0).isEmpty
        // What it leaves out is in no report.
        case .reasons: badge.way != .proc
        case .details: !report.details(selection).isEmpty
        }
    }

    /// Over what the filter of a table goes, for its prompt: as long as there is room for it, and shorter.
    static func filterPrompts(_ table: Table) -> (long: String, short: String) {
        let (rows, texts) =
            switch table {
            case .guests: ("guests", "name or PID")
            case .vcpus: ("vCPUs", "vCPU 0, Last, Most")
            case .reasons: ("exits", "kvm_exit(HLT)")
            case .details: ("rows", "port 0x3f8 out")
            }
        return ("Filter \(rows) (regular expression over \(texts)): ", "Filter \(rows): ")
    }

    /// What a filter goes over, as the first line has it.
    static func filteredRows(_ table: Table) -> String {
        switch table {
        case .guests: "guests"
        case .vcpus: "vCPUs"
        case .reasons: "exits"
        case .details: "where"
        }
    }
}

extension ReasonFilter {
    func accepts(_ guest: HostReport.Guest) -> Bool { accepts(guest.name) || accepts("\(guest.process)") }

    func accepts(_ vcpu: HostReport.VCPU) -> Bool {
        (["vCPU \(vcpu.id)"] + vcpu.topReasons + (vcpu.lastExit.map { [$0] } ?? [])).contains(where: accepts)
    }

    /// A reason by kvm_stat's name for it, `kvm_userspace_exit(IO)`, or by that which the table shows, `to user: IO`.
    func acceptsShown(_ name: String) -> Bool {
        if accepts(name) { return true }
        let userspace = "kvm_userspace_exit("
        guard name.hasPrefix(userspace) else { return false }
        return accepts("to user: " + name.dropFirst(userspace.count).dropLast())
    }
}

extension HostReport {
    /// What the graph is of: all that is selected, or those of its guests or vCPUs that a filter leaves.
    func point(_ selection: Selection, only rows: WatchModel.TableFilter?) -> WatchSeries.Point {
        let whole = exitsPerSecond(selection)
        guard let parts = parts(of: selection, rows) else {
            return WatchSeries.Point(exitsPerSecond: whole, times: times(selection))
        }
        return WatchSeries.Point(
            // What no source tells stays unknown.
            exitsPerSecond: whole.map { _ in parts.reduce(0) { $0 + (exitsPerSecond($1) ?? 0) } },
            times: parts.reduce(into: Histogram()) { $0.add(times($1)) })
    }

    private func parts(of selection: Selection, _ rows: WatchModel.TableFilter?) -> [Selection]? {
        guard let rows else { return nil }
        switch rows.table {
        case .guests where selection.process == nil:
            return guests.filter(rows.filter.accepts).map { Selection(process: $0.process) }
        // The kernel's own counters are of the whole VM.
        case .vcpus where selection.thread == nil && !badge.countsOnly:
            guard let process = selection.process else { return nil }
            return vcpus(of: process).filter(rows.filter.accepts).compactMap { vcpu in
                vcpu.thread.map { Selection(process: process, thread: $0) }
            }
        default: return nil
        }
    }
}
