/// The counters as they last stood, and what came since.
struct CounterLedger: Sendable {
    private var totals = CounterTable()
    /// The places of ``totals`` by their keys.
    private var order: [Int] = []
    private var losses = Losses()
    /// Those that have a counter.
    private(set) var threads: Set<Int32> = []

    /// What each counter came to since the snapshot before, by key; those that did not move are left out.
    mutating func advance(to snapshot: CounterSnapshot) -> (cells: [MonitorSample.Cell], losses: Losses) {
        var moved: [Counter?] = []
        moved.reserveCapacity(max(totals.count, snapshot.counters.count))
        moved.append(contentsOf: repeatElement(nil, count: totals.count))
        var restarts: UInt64 = 0
        var count = 0
        for (key, counter) in snapshot.counters {
            guard let place = totals.place(of: key, limit: .max) else { continue }
            if place == moved.count {
                moved.append(nil)
                threads.insert(key.thread)
            }
            let before = totals[place]
            if counter.count == before.count, counter.time == before.time { continue }
            let difference = counter.since(before)
            // One that began anew: all of it came since.
            if difference == nil { restarts &+= 1 }
            moved[place] = difference ?? counter
            totals[place] = counter
            count += 1
        }
        if order.count != totals.count {
            let keys = totals.keys
            order = keys.indices.sorted { keys[$0] < keys[$1] }
        }
        var cells: [MonitorSample.Cell] = []
        cells.reserveCapacity(count)
        for place in order {
            if let counter = moved[place] {
                cells.append(MonitorSample.Cell(key: totals.keys[place], counter: counter))
            }
        }
        var lost = snapshot.losses.since(losses)
        lost.restarted &+= restarts
        losses = snapshot.losses
        return (cells, lost)
    }

    mutating func forget(_ gone: Set<Int32>) {
        totals.remove { gone.contains($0.thread) }
        order = []
        threads.subtract(gone)
    }
}
