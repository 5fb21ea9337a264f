/// The stops before the current one, the oldest first; as many as ``Debugger/historyLimit`` leaves room for.
///
/// A ring: at each step one comes and one goes.
struct PastStops {
    private var ring: [Stop] = []
    /// Where the oldest stands.
    private var start = 0
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    var first: Stop? { ring.isEmpty ? nil : ring[start] }
    var last: Stop? { ring.isEmpty ? nil : ring[(start + ring.count - 1) % ring.count] }
    var all: [Stop] { Array(ring[start...] + ring[..<start]) }

    func last(where predicate: (Stop) -> Bool) -> Stop? {
        all.last(where: predicate)
    }

    mutating func append(_ stop: Stop) {
        guard ring.count == capacity else { return ring.append(stop) }
        ring[start] = stop
        start = start + 1 == capacity ? 0 : start + 1
    }
}
