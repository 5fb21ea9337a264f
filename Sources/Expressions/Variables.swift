import Locking

/// Convenience variables (`$n`) and the values printed so far (`$`, `$1`), of one debugger.
///
/// Safe from any thread: a breakpoint's condition may count in a variable while the guest runs.
package final class Variables: Sendable {
    /// More names, or values, than this are a script that went wrong.
    package static let maximum = 1 << 20

    private struct State {
        var slots: [String: Int] = [:]
        var names: [String] = []
        /// Nil: named, never set.
        var values: [Value?] = []
        var history: [Value] = []
    }
    private let state = Lock(State())

    package init() {}

    /// The variables that have a value, sorted by name.
    package var all: [(name: String, value: Value)] {
        state.withLock { state in
            state.names.enumerated().compactMap { slot, name in state.values[slot].map { (name, $0) } }
        }.sorted { $0.name < $1.name }
    }

    /// The names of those that have a value and begin so, in no order.
    package func names(startingWith prefix: String) -> [String] {
        state.withLock { state in
            zip(state.names, state.values).compactMap { name, value in
                value != nil && name.hasPrefix(prefix) ? name : nil
            }
        }
    }

    /// The slot of a variable that has a value.
    package func slot(of name: String) -> Int? {
        state.withLock { state in
            state.slots[name].flatMap { state.values[$0] == nil ? nil : $0 }
        }
    }

    /// The slot of a variable that is to be set; nil where there are too many.
    package func makeSlot(_ name: String) -> Int? {
        state.withLock { state in
            if let slot = state.slots[name] { return slot }
            guard state.names.count < Self.maximum else { return nil }
            state.slots[name] = state.names.count
            state.names.append(name)
            state.values.append(nil)
            return state.names.count - 1
        }
    }

    /// Nil where it was never set.
    package subscript(slot: Int) -> Value? {
        get { state.withLock { $0.values[slot] } }
        set { state.withLock { $0.values[slot] = newValue } }
    }

    /// Changes a variable in one go; returns what it was.
    package func step(_ slot: Int, by delta: Int64, pointerWidth: Int) -> Value? {
        state.withLock { state in
            guard let old = state.values[slot] else { return nil }
            let number = Value(number: UInt64(bitPattern: delta))
            var signed = number
            signed.isSigned = true
            state.values[slot] = Arithmetic.apply(.add, old, signed, pointerWidth: pointerWidth)
            return old
        }
    }

    /// Keeps a value, and gives its number, from 1 on; nil where there are too many.
    package func remember(_ value: Value) -> Int? {
        state.withLock { state in
            guard state.history.count < Self.maximum else { return nil }
            state.history.append(value)
            return state.history.count
        }
    }

    /// How many values were kept.
    var historyCount: Int { state.withLock { $0.history.count } }

    /// A value by its number.
    package func history(_ number: Int) -> Value? {
        state.withLock { number > 0 && number <= $0.history.count ? $0.history[number - 1] : nil }
    }
}
