/// The counters as they last stood, and what came since.
struct CounterLedger: Sendable {
    private var totals: [CounterKey: Counter] = [:]
    private var losses = Losses()
    private(set) var restarted: UInt64 = 0

    /// What each counter came to since the snapshot before, by key; those that did not move are left out.
    mutating func advance(to snapshot: CounterSnapshot) -> (cells: [MonitorSample.Cell], losses: Losses) {
        var cells: [MonitorSample.Cell] = []
        var restarts: UInt64 = 0
        for (key, counter) in snapshot.counters {
            let before = totals.updateValue(counter, forKey: key) ?? Counter()
            if counter.count == before.count, counter.time == before.time { continue }
            if let difference = counter.since(before) {
                cells.append(MonitorSample.Cell(key: key, counter: difference))
            } else {
                // It began anew: all of it came since.
                restarts &+= 1
                cells.append(MonitorSample.Cell(key: key, counter: counter))
            }
        }
        cells.sort { $0.key < $1.key }
        var lost = snapshot.losses.since(losses)
        lost.restarted &+= restarts
        losses = snapshot.losses
        return (cells, lost)
    }

    mutating func forget(_ threads: Set<Int32>) {
        totals = totals.filter { !threads.contains($0.key.thread) }
    }

    /// Since the source began.
    func total(of key: CounterKey) -> Counter? { totals[key] }

    var threads: Set<Int32> { Set(totals.keys.map(\.thread)) }
}
