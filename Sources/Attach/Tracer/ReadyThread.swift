import Host
import KVMCore

/// Whether a thread that is waited for waits itself, for a processor: on a host with much else to do a call that takes
/// microseconds comes back after seconds, and there is nothing wrong with it.
struct ReadyThread {
    private let process: Int32
    private let thread: Int32
    private var last: (time: UInt64, onCPU: UInt64)?
    private var spent: UInt64 = 0

    /// How long it is waited for beyond what others get, in nanoseconds: one at nice 19 beside busy ones gets a processor
    /// every few seconds.
    static let limit: UInt64 = 20_000_000_000

    init(process: Int32, thread: Int32) {
        self.process = process
        self.thread = thread
    }

    /// It is ready, and had less than a tenth of a processor since the last look; of the first look it is enough that it is
    /// ready.
    mutating func waitsForProcessor() -> Bool {
        guard let time = ThreadSample.processorTime(process: process, thread: thread), time.isReady else {
            return false
        }
        return isKept(onCPU: time.used, now: monotonicTime())
    }

    /// - Parameters:
    ///   - onCPU: what it has had, in nanoseconds.
    ///   - now: of the monotonic clock.
    mutating func isKept(onCPU: UInt64, now: UInt64) -> Bool {
        defer { last = (now, onCPU) }
        guard let last else { return true }
        spent &+= now &- last.time
        return spent < Self.limit && onCPU &- last.onCPU < (now &- last.time) / 10
    }
}

/// How much longer a thread is waited for: a budget, and more where the thread is kept from a processor.
struct ThreadWait {
    /// How often it is looked at whether one that is ready is still kept from a processor, in nanoseconds.
    private static let between: UInt64 = 200_000_000

    private var budget: WaitBudget
    private var ready: [Int32: ReadyThread] = [:]
    private(set) var spent: UInt64 = 0

    /// - Parameter limit: in nanoseconds, of one that has a processor.
    init(_ limit: UInt64) { budget = WaitBudget(limit) }

    /// After a look that was in vain: whether it was the last.
    mutating func isOver(for thread: Int32, of process: Int32) -> Bool {
        let before = budget.spent
        let isOver = budget.isOver()
        spent &+= budget.spent &- before
        guard isOver else { return false }
        guard ready[thread, default: ReadyThread(process: process, thread: thread)].waitsForProcessor() else {
            return true
        }
        budget = WaitBudget(Self.between)
        return false
    }
}
