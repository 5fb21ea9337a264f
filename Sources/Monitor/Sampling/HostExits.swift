import Host
import PreciseTimes

/// The exits of one guest since it is watched, counted on the host with no stop of anybody: for the debugger of a guest that
/// another program runs.
///
/// For one thread.
package final class HostExits {
    /// What was seen so far.
    package struct Look: Sendable {
        /// Everything since the start or the last reset, as though it were one interval.
        package var report: HostReport
        /// A second, over the last second or so; nil where that is not over yet.
        package var rates: [ReasonKey: Double]?
        /// Of each vCPU by its id: exits since the start, and the last return of KVM_RUN.
        package var vcpus: [HostReport.VCPU]
        /// Of each vCPU by its id, exits a second over the last second.
        package var vcpuRates: [Int: Double]
    }

    private let process: Int32
    private let name: String
    private let vcpus: () -> [MonitoredGuest.VCPU]
    private let open: () throws(MonitorError) -> any ExitSource
    private var state = State.closed
    private var counters: [CounterKey: Counter] = [:]
    /// Since the same moment, where the source has them.
    private var precise: [CounterKey: PreciseTimes] = [:]
    private var start: UInt64 = 0
    private var losses = Losses()
    private var recent: HostReport?
    private var pending: [CounterKey: Counter] = [:]
    private var pendingStart: UInt64 = 0

    private enum State {
        /// It begins with the first look: a session that never asks pays nothing for it.
        case closed
        case counting(Monitor)
        case failed(MonitorError)
    }

    /// At some 10 KB each.
    private static let maximumPrecise = 1024
    /// Rates are over so long at least.
    private static let period: UInt64 = 1_000_000_000

    /// - Parameters:
    ///   - vcpus: those that the guest has at the moment.
    ///   - open: makes the source, at the first look.
    package init(
        process: Int32, name: String, vcpus: @escaping () -> [MonitoredGuest.VCPU],
        open: @escaping () throws(MonitorError) -> any ExitSource
    ) {
        self.process = process
        self.name = name
        self.vcpus = vcpus
        self.open = open
    }

    /// Nothing has been counted yet: the next look begins it.
    package var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    private func monitor() throws(MonitorError) -> Monitor {
        switch state {
        case .counting(let monitor): return monitor
        case .failed(let error): throw error
        case .closed:
            do {
                let monitor = Monitor(
                    source: try open(), directory: KnownGuest(process: process, name: name, vcpus: vcpus))
                let first = try monitor.sample()
                (start, pendingStart) = (first.end, first.end)
                state = .counting(monitor)
                return monitor
            } catch {
                state = .failed(error)
                throw error
            }
        }
    }

    /// What was seen until now.
    package func look() throws(MonitorError) -> Look {
        let monitor = try monitor()
        let sample = try monitor.sample()
        for cell in sample.cells {
            counters[cell.key, default: Counter()].add(cell.counter)
            pending[cell.key, default: Counter()].add(cell.counter)
        }
        for (key, bins) in sample.preciseTimes
        where precise[key] != nil || precise.count < Self.maximumPrecise {
            precise[key, default: PreciseTimes()].add(bins)
        }
        losses.add(sample.losses)
        if sample.end &- pendingStart >= Self.period {
            // Of these only rates are looked at.
            recent = report(sample, pending, [:], from: pendingStart, monitor.source)
            pending = [:]
            pendingStart = sample.end
        }
        let all = report(
            sample, counters, precise.mapValues(\.bins), from: start, monitor.source)
        let selection = Selection(process: process)
        return Look(
            report: all,
            rates: recent.map { recent in
                Dictionary(
                    recent.reasons(selection).map { ($0.key, $0.rate) },
                    uniquingKeysWith: { first, _ in first })
            },
            vcpus: all.vcpus(of: process),
            vcpuRates: Dictionary(
                (recent?.vcpus(of: process) ?? []).compactMap { vcpu in
                    vcpu.exitsPerSecond.map { (vcpu.id, $0) }
                },
                uniquingKeysWith: { first, _ in first }))
    }

    /// Counts from zero.
    package func reset() {
        // What has not begun is at zero.
        guard case .counting(let monitor) = state, let sample = try? monitor.sample() else { return }
        counters = [:]
        precise = [:]
        pending = [:]
        recent = nil
        losses = Losses()
        (start, pendingStart) = (sample.end, sample.end)
    }

    private func report(
        _ sample: MonitorSample, _ counters: [CounterKey: Counter], _ precise: [CounterKey: TimeBins],
        from start: UInt64, _ source: any ExitSource
    ) -> HostReport {
        var whole = sample
        whole.start = start
        whole.losses = losses
        whole.preciseTimes = precise
        whole.cells = counters.map { MonitorSample.Cell(key: $0.key, counter: $0.value) }.sorted {
            $0.key < $1.key
        }
        return HostReport(whole, names: source.names, badge: source.badge)
    }
}

/// A guest that need not be looked for.
private final class KnownGuest: GuestDirectory {
    private let process: Int32
    private let name: String
    private let vcpus: () -> [MonitoredGuest.VCPU]

    init(process: Int32, name: String, vcpus: @escaping () -> [MonitoredGuest.VCPU]) {
        self.process = process
        self.name = name
        self.vcpus = vcpus
    }

    func guests() -> (guests: [MonitoredGuest], hidden: Int) {
        ([MonitoredGuest(process: process, name: name, vmm: "", vcpus: vcpus())], 0)
    }

    func thread(_ thread: Int32, of process: Int32) -> ThreadSample? { nil }

    var isWhole: Bool { false }
}
