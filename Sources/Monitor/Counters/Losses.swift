/// What a source could not count. Each is the number of events.
package struct Losses: Sendable, Hashable, Encodable {
    /// Records that a ring had no room for.
    package var records: UInt64 = 0
    /// Events whose thread or key found no room in the tables.
    package var unkept: UInt64 = 0
    /// Exits that no entry followed before the next one: counted, not timed.
    package var unpaired: UInt64 = 0
    /// Counters that went back, or threads whose number came again: counted from zero.
    package var restarted: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { self == Losses() }

    package mutating func add(_ other: Losses) {
        records &+= other.records
        unkept &+= other.unkept
        unpaired &+= other.unpaired
        restarted &+= other.restarted
    }

    /// What was lost since `earlier`.
    package func since(_ earlier: Losses) -> Losses {
        var losses = self
        losses.records = records >= earlier.records ? records - earlier.records : records
        losses.unkept = unkept >= earlier.unkept ? unkept - earlier.unkept : unkept
        losses.unpaired = unpaired >= earlier.unpaired ? unpaired - earlier.unpaired : unpaired
        losses.restarted = restarted >= earlier.restarted ? restarted - earlier.restarted : restarted
        return losses
    }
}
