/// Breakpoints by the address that they compare: a value that drivers keep a copy of while the guest runs, and that
/// goes on being changed beside them.
///
/// A dictionary would be copied as a whole at each change that meets such a copy, and a hundred thousand changes would
/// cost their square. So the changes since the last great copy stand apart, no more than about the square root of all,
/// and those alone are copied.
struct PlaceTable: Sendable {
    // SAFETY: `set` changes it only where `isKnownUniquelyReferenced` says that no other table refers to it.
    private final class Base: @unchecked Sendable {
        var states: [UInt64: [BreakpointState]]

        init(_ states: [UInt64: [BreakpointState]]) { self.states = states }
    }

    private var base = Base([:])
    /// What differs from the base; an empty list where nothing is any more.
    private var recent: [UInt64: [BreakpointState]] = [:]
    /// How many addresses there are.
    private(set) var count = 0
    /// Entries that changes have copied: what they have cost so far.
    private(set) var copied = 0

    var isEmpty: Bool { count == 0 }

    /// The addresses, in no order.
    var keys: [UInt64] {
        base.states.keys.filter { recent[$0] == nil } + recent.filter { !$0.value.isEmpty }.keys
    }

    subscript(address: UInt64) -> [BreakpointState]? {
        if count == 0 { return nil }
        if !recent.isEmpty, let states = recent[address] { return states.isEmpty ? nil : states }
        return base.states[address]
    }

    mutating func append(_ state: BreakpointState, at address: UInt64) {
        let old = self[address]
        if old == nil { count += 1 }
        set(address, (old ?? []) + [state])
    }

    mutating func remove(_ number: Int, at address: UInt64) {
        guard let old = self[address] else { return }
        let new = old.filter { $0.number != number }
        if new.isEmpty { count -= 1 }
        set(address, new)
    }

    private mutating func set(_ address: UInt64, _ states: [BreakpointState]) {
        if isKnownUniquelyReferenced(&base) {
            takeIn()
            base.states[address] = states.isEmpty ? nil : states
            return
        }
        copied += recent.count
        recent[address] = states
        let limit = 32 + Int(Double(base.states.count).squareRoot())
        guard recent.count > limit else { return }
        copied += base.states.count
        base = Base(base.states)
        takeIn()
    }

    private mutating func takeIn() {
        guard !recent.isEmpty else { return }
        for (address, states) in recent { base.states[address] = states.isEmpty ? nil : states }
        recent.removeAll()
    }
}
