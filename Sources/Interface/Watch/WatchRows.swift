import Commands
import Monitor

/// The tables of the screen, in the order that the user wants.
extension WatchModel {
    func orders(_ table: Table) -> [String] {
        switch table {
        case .guests: ["exits/s", "guest time", "kernel time", "steal", "name", "PID"]
        case .vcpus: ["id", "exits/s", "guest time", "kernel time", "steal"]
        case .reasons: ["count", "time", "mean", "p99", "max", "name"]
        case .details: ["count", "name"]
        }
    }

    func order(_ table: Table) -> String { orders(table)[sorts[table, default: 0]] }

    var guestRows: [HostReport.Guest] {
        let guests = report?.guests ?? []
        func by(_ value: (HostReport.Guest) -> Double?) -> [HostReport.Guest] {
            guests.sorted { ($1.known(value), $0.process) < ($0.known(value), $1.process) }
        }
        return switch order(.guests) {
        case "guest time": by(\.share.guest)
        case "kernel time": by(\.share.kernel)
        case "steal": by(\.share.ready)
        case "name": guests.sorted { ($0.name, $0.process) < ($1.name, $1.process) }
        case "PID": guests
        default: by(\.exitsPerSecond)
        }
    }

    var vcpuRows: [HostReport.VCPU] {
        guard let process = selection.process, let report else { return [] }
        let vcpus = report.vcpus(of: process)
        func by(_ value: (HostReport.VCPU) -> Double?) -> [HostReport.VCPU] {
            vcpus.sorted { (value($1) ?? -1, $0.id) < (value($0) ?? -1, $1.id) }
        }
        return switch order(.vcpus) {
        case "exits/s": by(\.exitsPerSecond)
        case "guest time": by(\.share.guest)
        case "kernel time": by(\.share.kernel)
        case "steal": by(\.share.ready)
        default: vcpus
        }
    }

    var reasonRows: [HostReport.Reason] { reasonRows(of: selection) }

    func reasonRows(of selection: Selection) -> [HostReport.Reason] {
        let reasons = report?.reasons(selection) ?? []
        func by(_ value: (HostReport.Reason) -> UInt64?) -> [HostReport.Reason] {
            reasons.sorted { (value($1) ?? 0, $0.name) < (value($0) ?? 0, $1.name) }
        }
        return switch order(.reasons) {
        case "time": by(\.time)
        case "mean": by(\.mean)
        case "p99": by(\.p99)
        case "max": by(\.maximum)
        case "name": reasons.sorted { $0.name < $1.name }
        default: reasons
        }
    }

    var detailRows: [HostReport.Detail] {
        let details = report?.details(selection) ?? []
        return order(.details) == "name" ? details.sorted { $0.name < $1.name } : details
    }

    func rowCount(_ table: Table) -> Int {
        switch table {
        case .guests: report?.guests.count ?? 0
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

extension HostReport.Guest {
    /// What is not known comes last.
    fileprivate func known(_ value: (HostReport.Guest) -> Double?) -> Double { value(self) ?? -1 }
}
