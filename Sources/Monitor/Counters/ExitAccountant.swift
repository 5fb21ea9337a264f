/// Counts records in user space as the kernel's programs count them in the kernel: for perf's rings, where programs may
/// not be loaded, and for recordings.
///
/// The records of a thread have to come in the order of their times; those of others may come in between.
package struct ExitAccountant: Sendable {
    package private(set) var counters: [CounterKey: Counter] = [:]
    package private(set) var losses = Losses()
    /// By thread, the code of the last return of KVM_RUN.
    package private(set) var lastExits: [Int32: UInt64] = [:]
    private var threads: [Int32: ThreadState] = [:]
    private let maximumKeys: Int

    private struct ThreadState: Sendable {
        var exit: (time: UInt64, code: UInt64)?
        var userspace: (time: UInt64, code: UInt64)?
        var emulationStart: UInt64?
        /// Counted once the next record shows that the exit was no IN, whose kvm_pio comes after it.
        var emulated: (nanoseconds: UInt64, code: UInt64)?
        var hasHardwareExits = false
    }

    /// - Parameter maximumKeys: more are not counted, and are told as ``Losses/unkept``.
    package init(maximumKeys: Int = 1 << 16) { self.maximumKeys = maximumKeys }

    package mutating func account(_ event: ExitEvent) {
        // The state is taken out for the time, so that it is not copied.
        var state = threads.removeValue(forKey: event.thread) ?? ThreadState()
        defer { threads[event.thread] = state }
        let thread = event.thread
        switch event.content {
        case .exit(let code, let instructionPointer):
            if state.exit != nil { losses.unpaired &+= 1 }
            state.exit = (event.time, code)
            state.hasHardwareExits = true
            update(CounterKey(thread, .hardwareExit, code)) { $0.count &+= 1 }
            if let instructionPointer {
                let tag = CounterKind.instructionPointer.rawValue | UInt32(truncatingIfNeeded: code) << 8
                update(CounterKey(thread: thread, tag: tag, code: instructionPointer)) { $0.count &+= 1 }
            }
        case .entry:
            if let exit = state.exit {
                update(CounterKey(thread, .hardwareExit, exit.code)) { $0.record(event.time &- exit.time) }
            }
            if let userspace = state.userspace {
                update(CounterKey(thread, .userspaceExit, userspace.code)) {
                    $0.record(event.time &- userspace.time)
                }
            }
            state.exit = nil
            state.userspace = nil
        case .userspaceExit(let code):
            update(CounterKey(thread, .userspaceExit, code)) { $0.count &+= 1 }
            state.userspace = (event.time, code)
            lastExits[thread] = code
            commit(&state, thread)
            if let start = state.emulationStart, !state.hasHardwareExits, code == 2 || code == 6 {
                state.emulated = (event.time &- start, code)
            }
            state.emulationStart = nil
        case .count(let kind, let code, let emulation):
            if let kind { update(CounterKey(thread, kind, code)) { $0.count &+= 1 } }
            switch emulation {
            case .begins: state.emulationStart = event.time
            case .completed where kind == .port: state.emulated = nil
            default: break
            }
        case .timed(let kind, let code, let nanoseconds):
            update(CounterKey(thread, kind, code)) {
                $0.count &+= 1
                $0.record(nanoseconds)
            }
        }
    }

    private mutating func commit(_ state: inout ThreadState, _ thread: Int32) {
        guard let emulated = state.emulated else { return }
        update(CounterKey(thread, .emulation, emulated.code)) {
            $0.count &+= 1
            $0.record(emulated.nanoseconds)
        }
        state.emulated = nil
    }

    private mutating func update(_ key: CounterKey, _ change: (inout Counter) -> Void) {
        guard counters[key] != nil || counters.count < maximumKeys else {
            losses.unkept &+= 1
            return
        }
        change(&counters[key, default: Counter()])
    }

    /// Records were lost: what was open is not timed, for its end may be among them.
    package mutating func lost(_ records: UInt64) {
        losses.records &+= records
        for thread in threads.keys {
            threads[thread]?.exit = nil
            threads[thread]?.userspace = nil
            threads[thread]?.emulationStart = nil
            threads[thread]?.emulated = nil
        }
    }

    /// Forgets threads that have ended, with all that was counted of them.
    package mutating func forget(_ gone: Set<Int32>) {
        for thread in gone {
            threads[thread] = nil
            lastExits[thread] = nil
        }
        counters = counters.filter { !gone.contains($0.key.thread) }
    }
}

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
