import PreciseTimes

/// One sample as tables: the guests, their vCPUs, the reasons of what is selected and what is behind a reason.
///
/// A value that is not known is nil, never 0; ``missing`` says why.
package struct HostReport: Sendable {
    /// What exits are counted by for a guest: the processor's where they are told, else returns of KVM_RUN.
    package typealias Level = ReasonKey.Level

    package let sample: MonitorSample
    package let badge: SourceBadge
    package let names: ExitNames
    private let cells: CellIndex
    /// By process.
    package private(set) var guests: [Guest] = []
    private let accepts: [ReasonKey: Bool]
    let symbolizer: Symbolizer?

    /// Names addresses of guests.
    package struct Symbolizer: Sendable {
        /// As `memcpy+0x12`; nil for an address that has no name.
        package var name: @Sendable (UInt64) -> String?

        package init(_ name: @escaping @Sendable (UInt64) -> String?) { self.name = name }
    }

    /// - Parameter filter: whether a reason counts, by its name as kvm_stat writes it. Rates follow it, too.
    package init(
        _ sample: MonitorSample, names: ExitNames, badge: SourceBadge, filter: ((String) -> Bool)? = nil,
        symbolizer: Symbolizer? = nil
    ) {
        self.symbolizer = symbolizer
        self.sample = sample
        self.names = names
        self.badge = badge
        var owners: [Int32: Int32] = [:]
        for guest in sample.guests {
            owners[guest.process] = guest.process
            for thread in guest.threads { owners[thread] = guest.process }
        }
        cells = CellIndex(sample.cells) { owners[$0] ?? sample.owners[$0] }
        var accepts: [ReasonKey: Bool] = [:]
        if let filter {
            for cell in sample.cells {
                guard let reason = ReasonKey(cell.key), accepts[reason] == nil else { continue }
                accepts[reason] = filter(reason.kvmStatName(names))
            }
        }
        self.accepts = accepts
        guests = sample.guests.map(guest)
    }

    // MARK: Guests

    package struct Guest: Sendable, Hashable {
        package var process: Int32
        package var name: String
        package var vmm: String
        package var vcpuCount: Int
        /// In bytes.
        package var ram: UInt64?
        /// Which exits the rate counts; nil where the source tells none.
        package var level: Level?
        package var exitsPerSecond: Double?
        package var share: Shares
        package var interruptsPerSecond: Double?
    }

    /// Shares of a time, 0 to 1 for each vCPU: three busy vCPUs are 3.
    package struct Shares: Sendable, Hashable {
        package var guest: Double?
        package var kernel: Double?
        package var user: Double?
        package var ready: Double?
        package var asleep: Double?

        package init() {}

        init(_ share: ThreadShare) {
            guest = share.guest
            kernel = share.kernel
            user = share.user
            ready = share.ready
            asleep = share.asleep
        }

        /// Of several threads: known where it is known of each.
        init(_ all: [ThreadShare]) {
            guard !all.isEmpty else { return }
            guest = all.reduce(0) { $0 + $1.guest }
            kernel = all.reduce(0) { $0 + $1.kernel }
            user = all.reduce(0) { $0 + $1.user }
            ready = all.reduce(Double?(0)) { sum, share in sum.flatMap { sum in share.ready.map { sum + $0 } }
            }
            asleep = all.reduce(Double?(0)) { sum, share in
                sum.flatMap { sum in share.asleep.map { sum + $0 } }
            }
        }
    }

    private func guest(_ guest: MonitoredGuest) -> Guest {
        let cells = cells[process: guest.process]
        let shares = guest.threads.compactMap { sample.shares[$0] }
        let level = level(cells)
        return Guest(
            process: guest.process, name: guest.name, vmm: guest.vmm, vcpuCount: guest.vcpus.count,
            ram: guest.ram, level: level, exitsPerSecond: rate(cells, level),
            share: shares.count == guest.threads.count ? Shares(shares) : Shares(),
            interruptsPerSecond: interrupts(cells))
    }

    /// Exits of threads that no guest here has, at the level that is counted for them.
    var unownedExits: UInt64 {
        guard sample.isWhole else { return 0 }
        let cells = cells[process: nil]
        guard let level = level(cells) else { return 0 }
        return cells.reduce(0) { ReasonKey($1.key)?.level == level ? $0 &+ $1.counter.count : $0 }
    }

    /// The level that is counted for these cells.
    private func level(_ cells: CellList) -> Level? {
        switch badge.way {
        case .proc: return nil
        case .statistics, .descriptors: return .kernel
        case .bpf, .perf, .tracefs, .recording:
            return cells.contains { $0.key.kind == .hardwareExit } ? .hardware : .userspace
        }
    }

    private func rate(_ cells: CellList, _ level: Level?) -> Double? {
        guard let level, sample.seconds > 0 else { return nil }
        var count: UInt64 = 0
        for cell in cells {
            guard let reason = ReasonKey(cell.key), reason.level == level, isAccepted(reason) else {
                continue
            }
            // Of the kernel's counters one is the sum of the others.
            if level == .kernel, (reason.code == KernelCounter.all) != accepts.isEmpty { continue }
            count &+= cell.counter.count
        }
        return Double(count) / sample.seconds
    }

    private func isAccepted(_ reason: ReasonKey) -> Bool { accepts.isEmpty || accepts[reason] == true }

    private func interrupts(_ cells: CellList) -> Double? {
        guard sample.seconds > 0, badge.way != .proc else { return nil }
        let count = cells.reduce(UInt64(0)) { sum, cell in
            switch cell.key.kind {
            case .interrupt: sum &+ cell.counter.count
            case .kernelCounter where cell.key.code == KernelCounter.interrupts: sum &+ cell.counter.count
            default: sum
            }
        }
        return Double(count) / sample.seconds
    }

    // MARK: vCPUs

    package struct VCPU: Sendable, Hashable {
        package var id: Int
        package var thread: Int32?
        package var hostCPU: Int?
        package var moves: UInt64?
        package var share: Shares
        package var level: Level?
        package var exitsPerSecond: Double?
        /// The most frequent first, three at most.
        package var topReasons: [String]
        package var lastExit: String?
        /// Of the halts that ended, how many ended while the kernel still polled: 0 to 1.
        package var polledShare: Double?
    }

    package func vcpus(of process: Int32) -> [VCPU] {
        guard let guest = sample.guests.first(where: { $0.process == process }) else { return [] }
        return guest.vcpus.map { vcpu in
            let own = vcpu.thread.map { cells[thread: $0] } ?? cells[thread: 0]
            // The kernel's own counters are of the whole VM.
            let level = vcpu.thread == nil || badge.countsOnly ? nil : level(own)
            let share = vcpu.thread.flatMap { sample.shares[$0] }
            let rows = reasons(own, precisely: false).filter { $0.key.level == level }
            return VCPU(
                id: vcpu.id, thread: vcpu.thread, hostCPU: share?.hostCPU, moves: share?.moves,
                share: share.map(Shares.init) ?? Shares(), level: level, exitsPerSecond: rate(own, level),
                topReasons: rows.sorted { ($1.count, $0.name) < ($0.count, $1.name) }.prefix(3).map(\.name),
                lastExit: vcpu.thread.flatMap { sample.lastExits[$0] }.map {
                    ReasonKey(.userspace, $0).name(names)
                },
                polledShare: Self.polled(own))
        }
    }

    private static func polled(_ cells: CellList) -> Double? {
        var (polled, all): (UInt64, UInt64) = (0, 0)
        for cell in cells where cell.key.kind == .halt {
            all &+= cell.counter.count
            if cell.key.code & 1 == 0 { polled &+= cell.counter.count }
        }
        return all == 0 ? nil : Double(polled) / Double(all)
    }

    // MARK: Reasons

    /// From where to where the times of a reason go.
    package enum Timing: String, Sendable, Hashable, Encodable {
        /// From the exit to the next entry.
        case exitToEntry
        /// From the return of KVM_RUN to the next entry.
        case returnToEntry
        /// From the access that the kernel emulated to the return of KVM_RUN: no kvm_exit and kvm_entry fire here.
        case emulationToReturn
        case none
    }

    package struct Reason: Sendable, Equatable {
        package var key: ReasonKey
        package var name: String
        package var count: UInt64
        /// Of all of its level, 0 to 1.
        package var share: Double
        package var rate: Double
        package var timing: Timing
        /// Nanoseconds; nil where none was timed.
        package var time: UInt64?
        package var mean: UInt64?
        package var p50: UInt64?
        package var p99: UInt64?
        package var maximum: UInt64?
        package var histogram: Histogram
        /// The guest waits in it: its time is no handling.
        package var isWaiting: Bool
    }

    /// The reasons of what is selected, hardware exits first and then the most frequent first.
    package func reasons(_ selection: Selection) -> [Reason] {
        reasons(cells(of: selection), precisely: true).sorted {
            $0.key.level != $1.key.level
                ? $0.key.level.order < $1.key.level.order : ($1.count, $0.name) < ($0.count, $1.name)
        }
    }

    /// The cells of a guest or vCPU; of all where neither is selected.
    func cells(of selection: Selection) -> CellList {
        if let thread = selection.thread { return cells[thread: thread] }
        return selection.process.map { cells[process: $0] } ?? cells.all
    }

    /// - Parameter precisely: percentiles and longest times are wanted as well as they are known.
    private func reasons(_ cells: CellList, precisely: Bool) -> [Reason] {
        var counters: [ReasonKey: Counter] = [:]
        var emulated: [UInt64: Counter] = [:]
        var totals: [Level: UInt64] = [:]
        var precise = PreciseSums()
        for cell in cells {
            if precisely, let bins = sample.preciseTimes[cell.key] { precise.add(bins, of: cell.key) }
            if cell.key.kind == .emulation {
                emulated[cell.key.code, default: Counter()].add(cell.counter)
                continue
            }
            guard let reason = ReasonKey(cell.key) else { continue }
            if reason.level != .kernel { totals[reason.level, default: 0] &+= cell.counter.count }
            if reason == ReasonKey(.kernel, UInt64(KernelCounter.all)) {
                totals[.kernel, default: 0] &+= cell.counter.count
            }
            guard isAccepted(reason) else { continue }
            counters[reason, default: Counter()].add(cell.counter)
        }
        return counters.map { key, counter in
            var timed = counter
            var timing: Timing =
                switch key.level {
                case .hardware: .exitToEntry
                case .userspace: .returnToEntry
                case .kernel: .none
                }
            if key.level == .userspace, counter.mean == nil, let emulated = emulated[key.code] {
                timed = emulated
                timing = .emulationToReturn
            }
            let isTimed = timed.mean != nil
            // Only where they are kept of all that were timed.
            let own = timing == .emulationToReturn ? precise.emulated[key.code] : precise.reasons[key]
            let times = own.flatMap { $0.total == timed.histogram.total ? $0 : nil }
            return Reason(
                key: key, name: key.name(names), count: counter.count,
                share: Double(counter.count) / Double(max(1, totals[key.level] ?? 0)),
                rate: sample.seconds > 0 ? Double(counter.count) / sample.seconds : 0,
                timing: isTimed ? timing : .none, time: isTimed ? timed.time : nil, mean: timed.mean,
                p50: times?.quantile(0.5)
                    ?? timed.histogram.quantile(0.5).map { min($0, timed.maximum) },
                p99: times?.quantile(0.99)
                    ?? timed.histogram.quantile(0.99).map { min($0, timed.maximum) },
                maximum: times?.maximum ?? (isTimed ? timed.maximum : nil), histogram: timed.histogram,
                isWaiting: key.isWaiting(names))
        }
    }

    /// The times of all that is selected, for a column of the heat map; waiting is left out unless it is selected itself.
    package func times(_ selection: Selection) -> Histogram {
        reasons(cells(of: selection), precisely: false).reduce(into: Histogram()) { sum, reason in
            if let wanted = selection.reason {
                if reason.key == wanted { sum.add(reason.histogram) }
            } else if !reason.isWaiting, reason.key.level == .hardware || reason.timing == .emulationToReturn
            {
                sum.add(reason.histogram)
            }
        }
    }

    /// Exits a second of what is selected; nil where the source tells none.
    package func exitsPerSecond(_ selection: Selection) -> Double? {
        let cells = cells(of: selection)
        guard let reason = selection.reason else { return rate(cells, level(cells)) }
        guard sample.seconds > 0 else { return nil }
        let count = cells.reduce(UInt64(0)) { ReasonKey($1.key) == reason ? $0 &+ $1.counter.count : $0 }
        return Double(count) / sample.seconds
    }
}

/// Times with two digits, over all threads.
private struct PreciseSums {
    var reasons: [ReasonKey: PreciseTimes] = [:]
    /// Of the emulation before a return, by its code.
    var emulated: [UInt64: PreciseTimes] = [:]

    mutating func add(_ bins: TimeBins, of key: CounterKey) {
        if key.kind == .emulation {
            emulated[key.code, default: PreciseTimes()].add(bins)
        } else if let reason = ReasonKey(key) {
            reasons[reason, default: PreciseTimes()].add(bins)
        }
    }
}

extension ReasonKey.Level {
    fileprivate var order: Int {
        switch self {
        case .hardware: 0
        case .userspace: 1
        case .kernel: 2
        }
    }
}
