package import PreciseTimes

/// Counts records in user space as the kernel's programs count them in the kernel: for perf's rings, where programs may
/// not be loaded, and for recordings.
///
/// The records of a thread have to come in the order of their times; those of others may come in between.
package struct ExitAccountant: Sendable {
    package private(set) var losses = Losses()
    private var table = CounterTable()
    /// By the places of ``table``, where times are kept precisely; nil of a key that is none of the first ones.
    private var precise: [PreciseTimes?] = []
    private let maximumPrecise: Int
    private var states: [ThreadState] = []
    /// Of ``states``, by thread.
    private var places: [Int32: Int] = [:]
    /// The thread of the last record: the next one is often of the same.
    private var last: (thread: Int32, place: Int)?
    private let maximumKeys: Int

    private struct ThreadState: Sendable {
        let thread: Int32
        var exit: (time: UInt64, code: UInt64)?
        var userspace: (time: UInt64, code: UInt64)?
        var emulationStart: UInt64?
        /// Counted once the next record shows that the exit was no IN, whose kvm_pio comes after it.
        var emulated: (nanoseconds: UInt64, code: UInt64)?
        var hasHardwareExits = false
        /// The code of the last return of KVM_RUN.
        var lastExit: UInt64?
    }

    /// - Parameters:
    ///   - maximumKeys: more are not counted, and are told as ``Losses/unkept``.
    ///   - maximumPrecise: of so many keys times are kept with two digits, at some 10 KB each; of others to a power of two.
    package init(maximumKeys: Int = 1 << 16, maximumPrecise: Int = 0) {
        self.maximumKeys = maximumKeys
        self.maximumPrecise = maximumPrecise
    }

    /// The times of those keys whose times are kept precisely, since this was called before. A key that had none gives its
    /// place to another.
    package mutating func takePreciseTimes() -> [CounterKey: TimeBins] {
        var times: [CounterKey: TimeBins] = [:]
        for place in precise.indices {
            guard let bins = precise[place]?.bins else { continue }
            if bins.bins.isEmpty {
                precise[place] = nil
                preciseCount -= 1
            } else {
                times[table.keys[place]] = bins
                precise[place]?.reset()
            }
        }
        return times
    }
    private var preciseCount = 0

    private mutating func recordPrecisely(_ place: Int, _ nanoseconds: UInt64) {
        guard maximumPrecise > 0 else { return }
        if precise.count <= place {
            precise.append(contentsOf: repeatElement(nil, count: place + 1 - precise.count))
        }
        if precise[place] == nil {
            guard preciseCount < maximumPrecise else { return }
            preciseCount += 1
            precise[place] = PreciseTimes()
        }
        precise[place]?.record(nanoseconds)
    }

    /// All that were counted.
    package var counted: [(key: CounterKey, counter: Counter)] {
        table.keys.enumerated().map { (key: $1, counter: table[$0]) }
    }

    package var counters: [CounterKey: Counter] {
        Dictionary(uniqueKeysWithValues: counted.map { ($0.key, $0.counter) })
    }

    /// By thread, the code of the last return of KVM_RUN.
    package var lastExits: [Int32: UInt64] {
        var exits: [Int32: UInt64] = [:]
        for state in states { if let exit = state.lastExit { exits[state.thread] = exit } }
        return exits
    }

    private mutating func place(of thread: Int32) -> Int {
        if let last, last.thread == thread { return last.place }
        let place: Int
        if let known = places[thread] {
            place = known
        } else {
            place = states.count
            states.append(ThreadState(thread: thread))
            places[thread] = place
        }
        last = (thread, place)
        return place
    }

    package mutating func account(_ event: ExitEvent) {
        let thread = event.thread
        let place = place(of: thread)
        switch event.content {
        case .exit(let code, let instructionPointer):
            if states[place].exit != nil { losses.unpaired &+= 1 }
            states[place].exit = (event.time, code)
            states[place].hasHardwareExits = true
            countOne(CounterKey(thread, .hardwareExit, code))
            if let instructionPointer {
                let tag = CounterKind.instructionPointer.rawValue | UInt32(truncatingIfNeeded: code) << 8
                countOne(CounterKey(thread: thread, tag: tag, code: instructionPointer))
            }
        case .entry:
            if let exit = states[place].exit {
                record(CounterKey(thread, .hardwareExit, exit.code), event.time &- exit.time)
                states[place].exit = nil
            }
            if let userspace = states[place].userspace {
                record(CounterKey(thread, .userspaceExit, userspace.code), event.time &- userspace.time)
                states[place].userspace = nil
            }
        case .userspaceExit(let code):
            countOne(CounterKey(thread, .userspaceExit, code))
            states[place].userspace = (event.time, code)
            states[place].lastExit = code
            if let emulated = states[place].emulated {
                countOne(CounterKey(thread, .emulation, emulated.code), taking: emulated.nanoseconds)
                states[place].emulated = nil
            }
            if let start = states[place].emulationStart {
                if !states[place].hasHardwareExits, code == 2 || code == 6 {
                    states[place].emulated = (event.time &- start, code)
                }
                states[place].emulationStart = nil
            }
        case .count(let kind, let code, let emulation):
            if let kind { countOne(CounterKey(thread, kind, code)) }
            switch emulation {
            case .begins: states[place].emulationStart = event.time
            case .completed where kind == .port: states[place].emulated = nil
            default: break
            }
        case .timed(let kind, let code, let nanoseconds):
            countOne(CounterKey(thread, kind, code), taking: nanoseconds)
        }
    }

    private mutating func countOne(_ key: CounterKey, taking nanoseconds: UInt64? = nil) {
        guard let place = table.place(of: key, limit: maximumKeys) else {
            losses.unkept &+= 1
            return
        }
        table[place].count &+= 1
        guard let nanoseconds else { return }
        table[place].record(nanoseconds)
        recordPrecisely(place, nanoseconds)
    }

    /// The end of one that was counted before; of one that found no room there is nothing to time.
    private mutating func record(_ key: CounterKey, _ nanoseconds: UInt64) {
        guard let place = table.place(of: key) else { return }
        table[place].record(nanoseconds)
        recordPrecisely(place, nanoseconds)
    }

    /// Records were lost: what was open is not timed, for its end may be among them.
    package mutating func lost(_ records: UInt64) {
        losses.records &+= records
        for place in states.indices {
            states[place].exit = nil
            states[place].userspace = nil
            states[place].emulationStart = nil
            states[place].emulated = nil
        }
    }

    /// Forgets threads that have ended, with all that was counted of them.
    package mutating func forget(_ gone: Set<Int32>) {
        states.removeAll { gone.contains($0.thread) }
        places = Dictionary(
            uniqueKeysWithValues: states.enumerated().map { ($0.element.thread, $0.offset) })
        last = nil
        if maximumPrecise > 0 {
            precise = zip(table.keys, precise).filter { !gone.contains($0.0.thread) }.map(\.1)
            preciseCount = precise.count { $0 != nil }
        }
        table.remove { gone.contains($0.thread) }
    }
}
