/// Exits that are not over: the programs in the kernel count an exit when the guest is entered again, which spares looking its
/// counter up twice, and whoever reads them adds those that are open.
///
/// A counter is read before the state that says whether an exit is open. Where the guest is entered between the two, the exit
/// is in neither; a count that was given once is never given smaller.
struct OpenExits {
    /// Counts that were given with an open exit in them, until the counter itself has come as far.
    private var given: [CounterKey: UInt64] = [:]

    /// - Parameters:
    ///   - open: an exit each.
    ///   - counters: as they were read before.
    mutating func add(_ open: [CounterKey], to counters: inout [(key: CounterKey, counter: Counter)]) {
        guard !open.isEmpty || !given.isEmpty else { return }
        var waiting = Set(open)
        var missing = given
        for place in counters.indices {
            let key = counters[place].key
            guard key.kind == .hardwareExit || key.kind == .userspaceExit else { continue }
            let isOpen = waiting.remove(key) != nil
            let least = missing.removeValue(forKey: key)
            let counted = counters[place].counter.count
            let count = max(counted &+ (isOpen ? 1 : 0), least ?? 0)
            counters[place].counter.count = count
            given[key] = count > counted ? count : nil
        }
        for key in waiting.union(missing.keys) {
            let count = max(waiting.contains(key) ? 1 : 0, missing[key] ?? 0)
            counters.append((key, Counter(count: count)))
            given[key] = count
        }
    }

    mutating func forget(_ threads: Set<Int32>) {
        given = given.filter { !threads.contains($0.key.thread) }
    }
}
