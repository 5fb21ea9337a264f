import DebugTarget
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
        let files = ProcessFiles(process)
        // Source: proc(5), `stat` field 3 and `schedstat` field 1, in nanoseconds.
        guard files.state(thread: thread) == "R",
            let onCPU = files.text("task/\(thread)/schedstat")?.split(separator: " ").first.flatMap({
                UInt64($0)
            })
        else { return false }
        return isKept(onCPU: onCPU, now: monotonicTime())
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
