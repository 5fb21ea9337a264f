public import KVMCore
import Locking
import Synchronization

/// Exits of every vCPU: counted by reason, timed, and the last ones kept with their payload.
///
/// A vCPU's thread writes through its ``ExitRecorder``; any thread reads.
public final class ExitLog: Sendable {
    private let recorders = Lock<[ExitRecorder]>([])

    public init() {}

    /// The recorder of a vCPU; made at the first call.
    public func recorder(for vcpu: Int) -> ExitRecorder {
        recorders.withLock { list in
            if let known = list.first(where: { $0.vcpu == vcpu }) { return known }
            let made = ExitRecorder(vcpu: vcpu)
            list.append(made)
            return made
        }
    }

    /// Exits of all vCPUs since the log was made. Never goes back: ``reset()`` does not touch it.
    public var total: UInt64 {
        recorders.withLock { list in list.reduce(0) { $0 &+ $1.total } }
    }

    /// Counts and times as they stand at `time` (CLOCK_MONOTONIC nanoseconds; now, by default).
    package func statistics(at time: UInt64 = monotonicTime()) -> ExitStatistics {
        let list = recorders.withLock { $0 }
        return ExitStatistics(time: time, vcpus: list.map { $0.statistics() }.sorted { $0.vcpu < $1.vcpu })
    }

    /// The last exits, the oldest first: of one vCPU, or of all in the order in which they ended.
    ///
    /// At most ``ExitRecorder/capacity`` a vCPU are kept. Single steps of the debugger's own are counted but
    /// not kept, for they would wash out all others.
    public func recent(vcpu: Int? = nil, limit: Int = ExitRecorder.capacity) -> [ExitRecord] {
        let list = recorders.withLock { $0 }.filter { vcpu == nil || $0.vcpu == vcpu }
        let records = list.flatMap { $0.recent(limit: limit) }
        guard list.count > 1 else { return records }
        return Array(
            records.sorted { ($0.end, $0.vcpu, $0.number) < ($1.end, $1.vcpu, $1.number) }.suffix(limit))
    }

    /// What a vCPU's last exit was, whether it was kept or not; nil where there is none since the start or the
    /// last ``reset()``.
    public func last(vcpu: Int) -> ExitKey? {
        recorders.withLock { list in list.first { $0.vcpu == vcpu } }?.last
    }

    /// Forgets counts, times and records.
    public func reset() {
        for recorder in recorders.withLock({ $0 }) { recorder.reset() }
    }
}

/// Where one vCPU's thread puts its exits.
public final class ExitRecorder: Sendable {
    /// How many exits are kept with their payload.
    public static let capacity = 1000
    /// How many different keys are counted apart: a guest can touch any number of pages.
    public static let maximumKeys = 4096

    public let vcpu: Int
    private let all = Atomic<UInt64>(0)
    private let state = Lock<State>(State())

    package init(vcpu: Int) { self.vcpu = vcpu }

    private struct State: Sendable {
        var keys: [ExitKey] = []
        var counts: [ExitCount] = []
        var index: [UInt64: Int] = [:]
        var records: [ExitRecord] = []
        /// Where the next record goes once the ring is full.
        var oldest = 0
        var recorded: UInt64 = 0
        /// The exit that is being handled: its place in `counts` and in `records`, and when KVM_RUN returned.
        var pending: (count: Int, record: Int?, end: UInt64)?
        /// Where the last exit was kept.
        var lastSlot: Int?
        /// The packed key before, for the same port or page often comes again.
        var lastPacked = UInt64.max
        var lastIndex = 0
        /// And the one before that: a guest that waits has two kinds of exits in turns.
        var otherPacked = UInt64.max
        var otherIndex = 0
    }

    /// Exits since the recorder was made; ``reset()`` does not touch it.
    public var total: UInt64 { all.load(ordering: .relaxed) }

    /// KVM_RUN came back.
    ///
    /// - Parameters:
    ///   - start: when KVM_RUN was called, in CLOCK_MONOTONIC nanoseconds.
    ///   - end: when it returned.
    public func entered(_ exit: VCPUExit, start: UInt64, end: UInt64) {
        all.wrappingAdd(1, ordering: .relaxed)
        let packed = ExitKey.pack(exit)
        state.withLock { state in
            let place = Self.place(of: packed, in: &state)
            let guest = end &- start
            state.counts[place].count &+= 1
            state.counts[place].guest &+= guest
            var slot: Int?
            if Self.isKept(exit) {
                let record = ExitRecord(
                    number: state.recorded, vcpu: vcpu, exit: exit, end: end, guest: guest, handling: nil)
                state.recorded &+= 1
                if state.records.count < Self.capacity {
                    slot = state.records.count
                    state.records.append(record)
                } else {
                    slot = state.oldest
                    state.records[state.oldest] = record
                    state.oldest = (state.oldest + 1) % Self.capacity
                }
            }
            state.pending = (place, slot, end)
            state.lastSlot = slot
        }
    }

    /// The last exit was this call of the machine's BIOS.
    public func note(_ call: FirmwareCall) {
        state.withLock { state in
            guard let slot = state.lastSlot, state.records.indices.contains(slot) else { return }
            state.records[slot].firmware = call
        }
    }

    /// So many exits like this one came and went and left nothing to keep, as steps that nobody looks at.
    ///
    /// - Parameter guest: nanoseconds in KVM_RUN, of all together.
    public func passed(_ exit: VCPUExit, count: UInt64, guest: UInt64) {
        all.wrappingAdd(count, ordering: .relaxed)
        let packed = ExitKey.pack(exit)
        state.withLock { state in
            let place = Self.place(of: packed, in: &state)
            state.counts[place].count &+= count
            state.counts[place].guest &+= guest
        }
    }

    /// The last exit's handling is over: KVM_RUN is about to be called, or the vCPU stops for the user, whose
    /// time to think is not the exit's.
    public func handled(at time: UInt64) {
        state.withLock { state in
            guard let pending = state.pending else { return }
            state.pending = nil
            let handling = time > pending.end ? time - pending.end : 0
            state.counts[pending.count].handling &+= handling
            if handling > state.counts[pending.count].maximumHandling {
                state.counts[pending.count].maximumHandling = handling
            }
            if let record = pending.record { state.records[record].handling = handling }
        }
    }

    private static func isKept(_ exit: VCPUExit) -> Bool {
        if case .debug(let debug) = exit { return debug.matched != 0 || !debug.isSingleStep }
        return true
    }

    private static func place(of packed: UInt64, in state: inout State) -> Int {
        if packed == state.lastPacked { return state.lastIndex }
        if packed == state.otherPacked {
            swap(&state.lastPacked, &state.otherPacked)
            swap(&state.lastIndex, &state.otherIndex)
            return state.lastIndex
        }
        var packed = packed
        if state.index[packed] == nil, state.keys.count >= maximumKeys { packed = ExitKey.packedOverflow }
        let place: Int
        if let known = state.index[packed] {
            place = known
        } else {
            place = state.keys.count
            state.keys.append(ExitKey(packed: packed))
            state.counts.append(ExitCount())
            state.index[packed] = place
        }
        (state.otherPacked, state.otherIndex) = (state.lastPacked, state.lastIndex)
        (state.lastPacked, state.lastIndex) = (packed, place)
        return place
    }

    package func statistics() -> ExitStatistics.PerVCPU {
        let (keys, counts) = state.withLock { ($0.keys, $0.counts) }
        return ExitStatistics.PerVCPU(
            vcpu: vcpu, rows: zip(keys, counts).map { ExitStatistics.Row(key: $0, count: $1) })
    }

    package var last: ExitKey? {
        state.withLock { $0.keys.indices.contains($0.lastIndex) ? $0.keys[$0.lastIndex] : nil }
    }

    package func recent(limit: Int) -> [ExitRecord] {
        state.withLock { state in
            let ordered = state.records[state.oldest...] + state.records[..<state.oldest]
            return Array(ordered.suffix(max(limit, 0)))
        }
    }

    package func reset() {
        state.withLock { state in
            let recorded = state.recorded
            state = State()
            state.recorded = recorded
        }
    }
}

/// One exit as it was kept.
public struct ExitRecord: Sendable, Hashable {
    /// Counts the kept exits of this vCPU, from 0.
    public var number: UInt64
    public var vcpu: Int
    public var exit: VCPUExit
    /// When KVM_RUN returned, in CLOCK_MONOTONIC nanoseconds.
    public var end: UInt64
    /// Nanoseconds in KVM_RUN before the exit.
    public var guest: UInt64
    /// Nanoseconds that handling it took; nil while it is being handled.
    public var handling: UInt64?
    /// The call of the machine's BIOS that it was; nil for any other exit.
    public var firmware: FirmwareCall?

    public init(number: UInt64, vcpu: Int, exit: VCPUExit, end: UInt64, guest: UInt64, handling: UInt64?) {
        self.number = number
        self.vcpu = vcpu
        self.exit = exit
        self.end = end
        self.guest = guest
        self.handling = handling
    }

    /// What this exit is counted under.
    public var key: ExitKey { ExitKey(exit) }
}
