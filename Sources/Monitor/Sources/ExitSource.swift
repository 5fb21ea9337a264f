package import PreciseTimes

/// Where counts of exits come from. Not thread-safe: whoever samples owns it.
package protocol ExitSource: AnyObject {
    var badge: SourceBadge { get }
    /// The names of codes.
    var names: ExitNames { get }
    /// All counters as they stand, since the source began.
    func read() throws(MonitorError) -> CounterSnapshot
    /// Threads that have ended: what was counted of them is dropped.
    func forget(_ threads: Set<Int32>)
    /// Counts the guest's RIP of each hardware exit, too: for the view that shows them, as it costs more than the rest.
    func countInstructionPointers(_ isWanted: Bool) throws(MonitorError)
}

extension ExitSource {
    package func forget(_ threads: Set<Int32>) {}
    package func countInstructionPointers(_ isWanted: Bool) throws(MonitorError) {
        guard isWanted else { return }
        throw MonitorError("\(badge.way.rawValue) does not tell the guest's RIP")
    }
}

/// What the figures rest on, for the user to see at all times.
package struct SourceBadge: Sendable, Hashable {
    /// From the best to the weakest.
    package enum Way: String, Sendable, Hashable, CaseIterable {
        /// Programs in the kernel count.
        case bpf = "BPF"
        /// Every event is read from perf's rings and counted here.
        case perf = "perf"
        /// Every event is read from a trace buffer of our own and counted here.
        case tracefs = "tracefs"
        /// The kernel's own counters of each VM, with no times.
        case statistics = "debugfs"
        /// The same of VMMs that hold descriptors of them.
        case descriptors = "statistics descriptors"
        /// No exits at all: how the threads spend their time.
        case proc = "/proc"
        /// What was recorded earlier.
        case recording = "recording"
    }

    package var way: Way

    /// Percentiles and longest times are right to one percent, as every event was seen here; else to a power of two.
    package var hasPreciseTimes: Bool { way == .perf || way == .tracefs || way == .recording }
    /// No more than the kernel's own counters.
    package var countsOnly: Bool { way == .statistics || way == .descriptors }
    /// Why a better way was not taken, and what is lost by that, a line each.
    package var missing: [String] = []

    package init(_ way: Way, missing: [String] = []) {
        self.way = way
        self.missing = missing
    }
}

/// All counters at one moment.
package struct CounterSnapshot: Sendable {
    /// CLOCK_MONOTONIC, in nanoseconds.
    package var time: UInt64
    package var counters: [(key: CounterKey, counter: Counter)]
    package var losses: Losses
    /// The process of each thread that has been seen, where the source knows it.
    package var processes: [Int32: Int32]
    /// The code of each thread's last ``CounterKind/userspaceExit``, where the source knows it.
    package var lastExits: [Int32: UInt64]
    /// Of keys whose times the source keeps with two digits: those since the snapshot before.
    package var preciseTimes: [CounterKey: TimeBins]

    package init(
        time: UInt64, counters: [(key: CounterKey, counter: Counter)], losses: Losses = Losses(),
        processes: [Int32: Int32] = [:], lastExits: [Int32: UInt64] = [:],
        preciseTimes: [CounterKey: TimeBins] = [:]
    ) {
        self.preciseTimes = preciseTimes
        self.time = time
        self.counters = counters
        self.losses = losses
        self.processes = processes
        self.lastExits = lastExits
    }
}
