import Glibc
import KVMCore

/// Where events come from, one after the other.
protocol EventStream: AnyObject {
    /// What has come, in the order of time.
    ///
    /// - Parameter end: what is not older is kept for the next call.
    func take(before end: UInt64) -> [PerfRings.Found]
    /// Readable once it is time to take.
    var descriptors: [Int32] { get }
    /// Why some could not be had.
    var trouble: MonitorError? { get }
}

extension EventStream {
    var trouble: MonitorError? { nil }
}

extension PerfRings: EventStream {}

/// Records every event of KVM's from perf's rings to a file, of all guests or of one. Nobody is stopped.
///
/// For one thread.
package final class Recorder {
    private let stream: any EventStream
    private let directory: any GuestDirectory
    private let process: Int32?
    private var writer: RecordingWriter
    private var guests: [MonitoredGuest] = []
    private var owners: [Int32: Int32] = [:]
    private var listed: UInt64 = 0
    /// Threads that were looked for.
    private var explained: Set<Int32> = []

    /// Of each ring, in bytes: a power of two. A quarter of it, some 80,000 events, is taken at once.
    static let ringSize = 1 << 24
    /// Of another CPU's ring, what is older is there: see ``EventOrder``.
    private static let settling: UInt64 = 5_000_000
    private static let listingPeriod: UInt64 = 5_000_000_000

    /// - Parameters:
    ///   - process: of the only guest that is recorded; nil for all.
    ///   - sink: takes whole frames.
    package convenience init(
        only process: Int32?, directory: any GuestDirectory,
        sink: @escaping ([UInt8]) throws(MonitorError) -> Void
    ) throws(MonitorError) {
        let tracing = try KernelFileSystem.tracing()
        let events = try KVMEvents.ofThisKernel(EventRule.all)
        var formats: [String: String] = [:]
        for event in ["kvm_exit", "kvm_userspace_exit"] {
            formats[event] = tracing.text("events/kvm/\(event)/format")
        }
        var names = utsname()
        uname(&names)
        // SAFETY: release ends with a zero byte inside the struct, which lives through the call.
        let kernel = withUnsafeBytes(of: &names.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let start = Recording.Start(
            wallTime: Double(wall.tv_sec) + Double(wall.tv_nsec) / 1e9, time: monotonicTime(), kernel: kernel,
            formats: formats, missing: events.problems.values.sorted())
        try self.init(
            stream: try PerfRings(events, size: Self.ringSize), start: start, only: process,
            directory: directory, sink: sink)
    }

    init(
        stream: any EventStream, start: Recording.Start, only process: Int32?,
        directory: any GuestDirectory, sink: @escaping ([UInt8]) throws(MonitorError) -> Void
    ) throws(MonitorError) {
        self.stream = stream
        self.directory = directory
        self.process = process
        writer = try RecordingWriter(start, sink: sink)
        try list(at: start.time)
    }

    /// Readable once it is time for ``record(now:)``; that wants to be called some ten times a second in any case.
    package var descriptors: [Int32] { stream.descriptors }
    package var eventCount: UInt64 { writer.eventCount }
    package var lostCount: UInt64 { writer.lostCount }
    package var byteCount: UInt64 { writer.byteCount }

    private func list(at time: UInt64) throws(MonitorError) {
        guests = directory.guests().guests
        listed = time
        let processes = Set(guests.map(\.process))
        owners = owners.filter { processes.contains($0.value) }
        for guest in guests { for thread in guest.threads { owners[thread] = nil } }
        try writer.guests(guests, owners: owners, at: time)
    }

    /// Writes what has come until `now`, on the events' clock.
    package func record(now: UInt64) throws(MonitorError) {
        try write(stream.take(before: now > Self.settling ? now - Self.settling : 0), now)
        if now &- listed >= Self.listingPeriod { try list(at: now) }
        try writer.flush()
    }

    private func write(_ found: [PerfRings.Found], _ now: UInt64) throws(MonitorError) {
        for entry in found {
            switch entry.what {
            case .lost(let count): try writer.lost(count, at: entry.time)
            case .event(let event):
                if let process, entry.process != process { continue }
                if !explained.contains(event.thread) { try explain(event.thread, entry.process, entry.time) }
                try writer.add(event)
            }
        }
    }

    /// Of a thread that is seen for the first time: whose it is.
    private func explain(_ thread: Int32, _ process: Int32, _ time: UInt64) throws(MonitorError) {
        explained.insert(thread)
        if guests.contains(where: { $0.threads.contains(thread) }) { return }
        try list(at: time)
        if guests.contains(where: { $0.threads.contains(thread) }) { return }
        guard guests.contains(where: { $0.process == process }) else { return }
        owners[thread] = process
        try writer.guests(guests, owners: owners, at: time)
    }

    /// Writes what is left and that this is all.
    package func end(now: UInt64) throws(MonitorError) {
        try write(stream.take(before: .max), now)
        try writer.end(at: now)
    }
}
