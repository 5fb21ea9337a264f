/// Counters by their keys, for millions of updates a second: keys and counters stand in arrays, and a table of places finds
/// them by a hash of two multiplications. The hash begins with a random number, as the codes come from guests.
struct CounterTable: Sendable {
    private(set) var keys: [CounterKey] = []
    private var counters: [Counter] = []
    /// By hash, as many as a power of two: the place in ``keys`` and 1; 0 is free.
    private var slots: [UInt32] = []
    private let seed = UInt64.random(in: .min ... .max)

    init() { slots = [UInt32](repeating: 0, count: 64) }

    var count: Int { keys.count }

    private func slot(of key: CounterKey) -> Int {
        let thread = UInt64(UInt32(bitPattern: key.thread)) << 32 | UInt64(key.tag)
        var hash = (thread ^ seed) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 32 ^ key.code) &* 0xD6E8_FEB8_6659_FD93
        return Int(truncatingIfNeeded: hash >> 32) & (slots.count - 1)
    }

    /// The place of a key; nil where it is not there.
    func place(of key: CounterKey) -> Int? {
        var slot = slot(of: key)
        while true {
            let entry = slots[slot]
            if entry == 0 { return nil }
            if keys[Int(entry) - 1] == key { return Int(entry) - 1 }
            slot = (slot + 1) & (slots.count - 1)
        }
    }

    /// The place of a key, which is added with a counter of zeros if it is not there.
    ///
    /// - Returns: nil where there is no room for another.
    mutating func place(of key: CounterKey, limit: Int) -> Int? {
        var slot = slot(of: key)
        while true {
            let entry = slots[slot]
            if entry == 0 { break }
            if keys[Int(entry) - 1] == key { return Int(entry) - 1 }
            slot = (slot + 1) & (slots.count - 1)
        }
        guard keys.count < limit else { return nil }
        keys.append(key)
        counters.append(Counter())
        slots[slot] = UInt32(keys.count)
        // At most three of four are taken, so that a search ends soon.
        if keys.count * 4 > slots.count * 3 { place(anew: slots.count * 2) }
        return keys.count - 1
    }

    private mutating func place(anew size: Int) {
        slots = [UInt32](repeating: 0, count: size)
        for (index, key) in keys.enumerated() {
            var slot = slot(of: key)
            while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = UInt32(index + 1)
        }
    }

    subscript(place: Int) -> Counter {
        get { counters[place] }
        _modify { yield &counters[place] }
    }

    /// Removes keys; the places of all others change.
    mutating func remove(where isGone: (CounterKey) -> Bool) {
        let kept = keys.indices.filter { !isGone(keys[$0]) }
        guard kept.count < keys.count else { return }
        keys = kept.map { keys[$0] }
        counters = kept.map { counters[$0] }
        var size = 64
        while keys.count * 4 > size * 3 { size *= 2 }
        place(anew: size)
    }
}
