import Commands
import Monitor

/// An order of a table's rows.
struct WatchOrder: Sendable, Hashable {
    var name: String
    /// The headings of the columns that it looks at: they are marked.
    var columns: [String]
    /// The least comes first.
    var rises = false
}

/// The tables of the screen, in the order that the user wants.
extension WatchModel {
    func orders(_ table: Table) -> [WatchOrder] {
        func order(_ name: String, _ columns: String...) -> WatchOrder {
            WatchOrder(name: name, columns: columns)
        }
        func rising(_ name: String, _ column: String) -> WatchOrder {
            WatchOrder(name: name, columns: [column], rises: true)
        }
        return switch table {
        case .guests:
            [
                order("exits/s", "Exits/s"), order("CPU time", "Gst%", "Krn%", "Usr%"),
                order("guest time", "Gst%"), order("kernel time", "Krn%"), order("steal", "Stl%"),
                order("memory", "RAM"), rising("name", "Guest"), rising("PID", "PID"),
            ]
        case .vcpus:
            [
                rising("id", "vCPU"), order("exits/s", "Exits/s"), order("CPU time", "Gst%", "Krn%", "Usr%"),
                order("guest time", "Gst%"), order("kernel time", "Krn%"), order("steal", "Stl%"),
            ]
        case .reasons:
            [
                order("count", "Count"), order("time", "Time"), order("mean", "Mean"), order("p99", "p99"),
                order("max", "Max"), rising("name", "Exit"),
            ]
        case .details: [order("count", "Count"), rising("name", "Where")]
        }
    }

    func order(_ table: Table) -> WatchOrder { orders(table)[sorts[table, default: 0]] }

    /// The mark in the headings: as in htop it points the way that the values go down the rows.
    func orderMark(_ table: Table) -> String {
        order(table).rises != inverted.contains(table) ? "\u{25B2}" : "\u{25BC}"
    }

    mutating func nextOrder(_ step: Int) {
        let count = orders(table).count
        sorts[table] = (sorts[table, default: 0] + step + count) % count
        inverted.remove(table)
    }

    mutating func invertOrder() {
        if inverted.remove(table) == nil { inverted.insert(table) }
    }

    /// htop's letters, where the table has such an order; else what there is instead is said.
    mutating func order(by names: String...) {
        let orders = orders(table)
        let places = names.compactMap { name in orders.firstIndex { $0.name == name } }
        guard let place = places.first else {
            let here = orders.map(\.name).joined(separator: ", ")
            message = "no \(names[0]) here; F6 > < go through \(here); I inverts"
            return
        }
        sorts[table] = place
        inverted.remove(table)
    }

    private func turned<Row>(_ rows: [Row], _ table: Table) -> [Row] {
        inverted.contains(table) ? rows.reversed() : rows
    }

    // MARK: Rows

    var guestRows: [HostReport.Guest] {
        var guests = report?.guests ?? []
        if let filter = filters[.guests] { guests = guests.filter(filter.accepts) }
        func by(_ value: (HostReport.Guest) -> Double?) -> [HostReport.Guest] {
            // What is not known comes last.
            guests.sorted { (value($1) ?? -1, $0.process) < (value($0) ?? -1, $1.process) }
        }
        let rows =
            switch order(.guests).name {
            case "CPU time": by(\.share.busy)
            case "guest time": by(\.share.guest)
            case "kernel time": by(\.share.kernel)
            case "steal": by(\.share.ready)
            case "memory": by { $0.ram.map(Double.init) }
            case "name": guests.sorted { ($0.name, $0.process) < ($1.name, $1.process) }
            case "PID": guests
            default: by(\.exitsPerSecond)
            }
        return turned(rows, .guests)
    }

    var vcpuRows: [HostReport.VCPU] {
        guard let process = selection.process, let report else { return [] }
        var vcpus = report.vcpus(of: process)
        if let filter = filters[.vcpus] { vcpus = vcpus.filter(filter.accepts) }
        func by(_ value: (HostReport.VCPU) -> Double?) -> [HostReport.VCPU] {
            vcpus.sorted { (value($1) ?? -1, $0.id) < (value($0) ?? -1, $1.id) }
        }
        let rows =
            switch order(.vcpus).name {
            case "exits/s": by(\.exitsPerSecond)
            case "CPU time": by(\.share.busy)
            case "guest time": by(\.share.guest)
            case "kernel time": by(\.share.kernel)
            case "steal": by(\.share.ready)
            default: vcpus
            }
        return turned(rows, .vcpus)
    }

    var reasonRows: [HostReport.Reason] { reasonRows(of: selection) }

    func reasonRows(of selection: Selection) -> [HostReport.Reason] {
        let reasons = report?.reasons(selection) ?? []
        func by(_ value: (HostReport.Reason) -> UInt64?) -> [HostReport.Reason] {
            reasons.sorted { (value($1) ?? 0, $0.name) < (value($0) ?? 0, $1.name) }
        }
        let rows =
            switch order(.reasons).name {
            case "time": by(\.time)
            case "mean": by(\.mean)
            case "p99": by(\.p99)
            case "max": by(\.maximum)
            case "name": reasons.sorted { $0.name < $1.name }
            default: reasons
            }
        return turned(rows, .reasons)
    }

    var detailRows: [HostReport.Detail] {
        var details = report?.details(selection) ?? []
        if let filter = filters[.details] { details = details.filter { filter.accepts($0.name) } }
        return turned(
            order(.details).name == "name" ? details.sorted { $0.name < $1.name } : details, .details)
    }

    func rowCount(_ table: Table) -> Int {
        switch table {
        case .guests: guestRows.count
        case .vcpus: vcpuRows.count
        case .reasons: reasonRows.count
        case .details: detailRows.count
        }
    }

    /// What Enter would go into; the second table of a high screen shows it.
    var highlighted: Selection? {
        let row = rows[table, default: 0]
        return switch table {
        case .guests: guestRows.element(row).map { Selection(process: $0.process) }
        case .vcpus: vcpuRows.element(row)?.thread.map { Selection(process: selection.process, thread: $0) }
        case .reasons, .details: nil
        }
    }
}

extension HostReport.Shares {
    /// The time of a CPU that is used, by whomever; nil where some of it is not known.
    fileprivate var busy: Double? {
        guard let guest, let kernel, let user else { return nil }
        return guest + kernel + user
    }
}
