import DebugTarget
import KVMCore
import X86

/// The accesses to watched memory that one vCPU makes.
struct AccessWatcher: Sendable {
    /// Since they were last judged, conditions not yet looked at.
    private(set) var noted: [WatchHit] = []

    var isQuiet: Bool { noted.isEmpty }

    mutating func begin() { noted.removeAll(keepingCapacity: true) }

    mutating func note(_ hits: [WatchHit]) { noted += hits }

    /// An access to a page that is protected: done beneath the patches, and compared with the watchpoints.
    mutating func access(
        _ access: MMIO, _ watches: [WatchState], _ memory: any PhysicalMemory
    ) -> AccessAnswer {
        let count = access.data.count
        let old = memory.word(access.gpa, size: count)
        if access.isWrite {
            withUnsafeBytes(of: access.data.value.littleEndian) { bytes in
                // SAFETY: count is 8 at most, and the part is used within this closure only.
                try? memory.writeAsGuest(access.gpa, UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
            }
        }
        // A debug register does not see what the emulator does.
        for watch in watches where watch.mechanism != .stepping {
            if watch.mechanism == .debugRegister { watch.remember(memory) }
            guard watch.access.includes(write: access.isWrite), let part = watch.overlap(access.gpa, count)
            else { continue }
            let shift = UInt64(part.place * 8)
            let mask: UInt64 = part.count == 8 ? .max : 1 << UInt64(part.count * 8) - 1
            let new = access.isWrite ? access.data.value : old ?? 0
            noted.append(
                watch.hit(
                    isWrite: access.isWrite, offset: part.offset, count: part.count,
                    old: old.map { $0 >> shift & mask }, new: new >> shift & mask,
                    extent: watch.extent(part.offset - part.place, count)))
        }
        return AccessAnswer(value: old ?? 0, isSeen: !noted.isEmpty)
    }

    /// Data breakpoints fired, and these registers of them matched.
    ///
    /// - Parameter accesses: of the instruction that was executed, as far as they are known.
    mutating func dataBreakpointsFired(
        _ matched: UInt8, of set: ArmedSet, _ memory: any PhysicalMemory, _ accesses: [MemoryAccess]
    ) {
        for watch in set.watches where watch.mechanism == .debugRegister {
            let isMatched = set.registers.hasData(in: watch.linearRange, matched)
            if let hit = watch.judge(memory, isMatched ? accesses : [], isMatched: isMatched) {
                noted.append(hit)
            }
        }
    }

    /// After each step where watchpoints are found by looking at it.
    ///
    /// - Parameter accesses: of the instruction that was stepped, as far as they are known.
    mutating func compare(
        _ watches: [WatchState], _ memory: any PhysicalMemory, _ accesses: [MemoryAccess]
    ) {
        for watch in watches where watch.mechanism == .stepping {
            if let hit = watch.judge(memory, accesses) { noted.append(hit) }
        }
    }

    /// Once the instruction is done: those that stop the guest. Each watchpoint counts once.
    ///
    /// - Parameter stops: whether a watchpoint's hit stops the guest.
    mutating func judge(_ watches: [WatchState], stops: (BreakpointState) -> Bool) -> [WatchHit] {
        let all = noted
        noted.removeAll(keepingCapacity: true)
        var judged: [Int: Bool] = [:]
        return all.filter { hit in
            if let known = judged[hit.number] { return known }
            let state = watches.first { $0.counter.number == hit.number }?.counter
            let verdict = state.map(stops) ?? false
            judged[hit.number] = verdict
            return verdict
        }
    }
}
