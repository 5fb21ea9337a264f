/// Counts the events of rings, for the sources that read every event.
struct RingCounter {
    private var accountant = ExitAccountant(maximumPrecise: Self.maximumPrecise)
    private var processes: [Int32: Int32] = [:]
    private var countsInstructionPointers = false

    /// Some 25 MB where as many keys have times.
    private static let maximumPrecise = 2048

    /// - Parameter found: in the order of time.
    mutating func count(_ found: [PerfRings.Found]) {
        for found in found {
            switch found.what {
            case .event(var event):
                if !countsInstructionPointers, case .exit(let code, _?) = event.content {
                    event.content = .exit(code: code, instructionPointer: nil)
                }
                accountant.account(event)
                if found.process > 0 { processes[event.thread] = found.process }
            case .lost(let count): accountant.lost(count)
            }
        }
    }

    /// What was counted so far, and the precise times since the snapshot before.
    mutating func snapshot(at time: UInt64) -> CounterSnapshot {
        CounterSnapshot(
            time: time, counters: accountant.counted, losses: accountant.losses, processes: processes,
            lastExits: accountant.lastExits, preciseTimes: accountant.takePreciseTimes())
    }

    mutating func forget(_ threads: Set<Int32>) {
        accountant.forget(threads)
        for thread in threads { processes[thread] = nil }
    }

    mutating func countInstructionPointers(_ isWanted: Bool, _ events: KVMEvents) throws(MonitorError) {
        if isWanted, events.layout("kvm_exit")?.named["guest_rip"] == nil {
            throw MonitorError(events.problems["kvm_exit"] ?? "kvm_exit does not tell the guest's RIP")
        }
        countsInstructionPointers = isWanted
    }
}

/// Puts the events of several CPUs into the order of time.
struct EventOrder {
    private var held: [PerfRings.Found] = []

    /// - Parameter end: what is not older is kept for the next call. A thread that moved has its records in two rings, and one
    ///   of them may be read too early for the older record: all that is older than a few milliseconds is there.
    mutating func next(_ more: [PerfRings.Found], before end: UInt64) -> [PerfRings.Found] {
        var found = held + more
        held.removeAll(keepingCapacity: true)
        // What was lost counts where it was: an exit before it and an entry after it do not belong together.
        found.sort { $0.time < $1.time }
        guard let first = found.firstIndex(where: { $0.time >= end }) else { return found }
        held.append(contentsOf: found[first...])
        return Array(found[..<first])
    }
}
