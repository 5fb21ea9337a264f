import GuestView

/// In which order the exits stand.
enum ExitOrder: String, Sendable, Hashable, CaseIterable {
    case count, time, name

    var next: ExitOrder {
        let all = Self.allCases
        return all[((all.firstIndex(of: self) ?? 0) + 1) % all.count]
    }

    func sorted(_ rows: [ExitTable.Row]) -> [ExitTable.Row] {
        switch self {
        // As they come.
        case .count: rows
        case .time: rows.sorted { ($1.total ?? 0, $0.name) < ($0.total ?? 0, $1.name) }
        case .name: rows.sorted { $0.name < $1.name }
        }
    }
}
