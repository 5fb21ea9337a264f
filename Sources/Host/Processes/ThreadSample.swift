import Glibc
import KVMCore

/// What the kernel says of one thread at one moment: where it runs and what it has used.
///
/// Source: proc(5), `/proc/PID/task/TID/stat`, `status` and `schedstat`.
public struct ThreadSample: Sendable, Hashable {
    /// CLOCK_MONOTONIC, in nanoseconds.
    public var time: UInt64
    /// The host CPU it last ran on (`stat` field 39).
    public var hostCPU: Int
    /// In clock ticks. The guest's time (43) is taken out of `utime` (14), which includes it.
    public var userTicks: UInt64
    public var guestTicks: UInt64
    /// `stime` (15).
    public var kernelTicks: UInt64
    /// Nanoseconds on a CPU, finer than ticks (`schedstat` field 1); nil if the kernel does not keep it.
    public var onCPU: UInt64?
    /// Nanoseconds ready to run while another thread had the CPU (`schedstat` field 2).
    public var waiting: UInt64?
    /// `status`: it slept or waited by itself.
    public var voluntarySwitches: UInt64
    /// `status`: the CPU was taken from it.
    public var involuntarySwitches: UInt64

    public init(
        time: UInt64, hostCPU: Int, userTicks: UInt64, guestTicks: UInt64, kernelTicks: UInt64,
        onCPU: UInt64?,
        waiting: UInt64?, voluntarySwitches: UInt64, involuntarySwitches: UInt64
    ) {
        self.time = time
        self.hostCPU = hostCPU
        self.userTicks = userTicks
        self.guestTicks = guestTicks
        self.kernelTicks = kernelTicks
        self.onCPU = onCPU
        self.waiting = waiting
        self.voluntarySwitches = voluntarySwitches
        self.involuntarySwitches = involuntarySwitches
    }

    /// Reads the three files' text. Nil where a field that is needed is missing or is no number; `schedstat` may be
    /// absent.
    public init?(time: UInt64, stat: String, status: String, schedstat: String?) {
        // The name, in parentheses, may hold blanks and parentheses itself: count from the last one.
        guard let name = stat.utf8.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = stat[stat.utf8.index(after: name)...].split(whereSeparator: \.isWhitespace)
        /// proc(5) counts from 1; field 3 is the first after the name.
        func field(_ number: Int) -> UInt64? {
            fields.indices.contains(number - 3) ? UInt64(fields[number - 3]) : nil
        }
        guard let user = field(14), let kernel = field(15), let cpu = field(39).flatMap(Int.init(exactly:))
        else { return nil }
        // Kernels without guest accounting end before field 43.
        let guest = field(43) ?? 0
        func count(_ key: String) -> UInt64? {
            status.split(separator: "\n").first { $0.hasPrefix(key) }.flatMap {
                UInt64($0.dropFirst(key.count).drop { $0 == ":" || $0.isWhitespace })
            }
        }
        guard let voluntary = count("voluntary_ctxt_switches"),
            let involuntary = count("nonvoluntary_ctxt_switches")
        else { return nil }
        let scheduled = schedstat.map { $0.split(whereSeparator: \.isWhitespace).map { UInt64($0) } } ?? []
        self.init(
            time: time, hostCPU: cpu, userTicks: user >= guest ? user - guest : 0, guestTicks: guest,
            kernelTicks: kernel, onCPU: scheduled.first ?? nil,
            waiting: scheduled.count > 1 ? scheduled[1] : nil, voluntarySwitches: voluntary,
            involuntarySwitches: involuntary)
    }
}

/// How a thread spent its time between two samples, each a share of the time that passed: 0 to 1.
public struct ThreadUsage: Sendable, Hashable {
    public var guest: Double
    public var kernel: Double
    public var user: Double
    /// Ready, but another thread had the CPU; nil if the kernel does not say.
    public var waiting: Double?

    public init(guest: Double, kernel: Double, user: Double, waiting: Double?) {
        self.guest = guest
        self.kernel = kernel
        self.user = user
        self.waiting = waiting
    }

    /// - Parameter ticksPerSecond: `sysconf(_SC_CLK_TCK)`.
    /// - Returns: nil if no time passed between the two, or they are not of one thread in this order.
    public init?(from earlier: ThreadSample, to later: ThreadSample, ticksPerSecond: UInt64) {
        guard later.time > earlier.time, ticksPerSecond > 0, later.guestTicks >= earlier.guestTicks,
            later.userTicks >= earlier.userTicks, later.kernelTicks >= earlier.kernelTicks
        else { return nil }
        let elapsed = Double(later.time - earlier.time) / 1e9
        func share(_ ticks: UInt64) -> Double { min(1, Double(ticks) / Double(ticksPerSecond) / elapsed) }
        guest = share(later.guestTicks - earlier.guestTicks)
        kernel = share(later.kernelTicks - earlier.kernelTicks)
        user = share(later.userTicks - earlier.userTicks)
        if let before = earlier.waiting, let after = later.waiting, after >= before {
            waiting = min(1, Double(after - before) / 1e9 / elapsed)
        }
    }
}

extension ThreadSample {
    /// Samples a thread now. Nil if it is gone or /proc does not show it.
    public init?(process: Int32, thread: Int32) {
        let files = ProcessFiles(process)
        let folder = "task/\(thread)/"
        guard let stat = files.text(folder + "stat"), let status = files.text(folder + "status") else {
            return nil
        }
        self.init(
            time: monotonicTime(), stat: stat, status: status, schedstat: files.text(folder + "schedstat"))
    }

    /// The unit of the tick counts: how many there are in a second.
    public static var ticksPerSecond: UInt64 { UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))) }
}

extension ThreadSample {
    /// What a thread has had of a processor, in nanoseconds, and whether it runs or waits for one now: `schedstat` field 1 and
    /// `stat` field 3 of proc(5). Nil where it is gone or the kernel does not keep it.
    package static func processorTime(process: Int32, thread: Int32) -> (used: UInt64, isReady: Bool)? {
        let files = ProcessFiles(process)
        guard let state = files.state(thread: thread),
            let used = files.text("task/\(thread)/schedstat")?.split(separator: " ").first.flatMap({
                UInt64($0)
            })
        else { return nil }
        return (used, state == "R")
    }
}
