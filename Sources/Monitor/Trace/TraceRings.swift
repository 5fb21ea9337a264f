import Glibc
import Host
import KVMCore

/// The buffers of a trace instance, one a CPU: every event of KVM's, in the order of time.
final class TraceRings: EventStream {
    /// The buffer of one CPU.
    private struct Ring {
        let number: Int
        let descriptor: Int32
        /// Events that were written over, as far as they have been told of.
        var overrun: UInt64 = 0
        var dropped: UInt64 = 0
        /// The time of the last event.
        var last: UInt64 = 0
    }

    private let instance: TraceInstance
    private let reader: RecordReader
    private let layout: TracePage.Layout
    private let thread: TracepointFormat.Field
    private var rings: [Ring] = []
    private var order = EventOrder()
    private var owners = ThreadOwners()
    private let buffer: UnsafeMutableRawBufferPointer
    /// Why an event is not told, by event.
    private(set) var problems: [String: String] = [:]
    /// Why a buffer could not be read.
    private(set) var trouble: MonitorError?

    /// In bytes: no page of a trace buffer is longer. A read gives one at most.
    private static let pageLimit = 1 << 16

    /// - Parameter size: of each CPU's buffer, in bytes. Less is taken where there is not as much.
    init(
        _ events: KVMEvents, _ system: KernelFileSystem, keeper: HelperProgram, size: Int
    ) throws(MonitorError) {
        guard let thread = events.thread else {
            throw MonitorError("events of this kernel do not tell their thread (common_pid)")
        }
        self.thread = thread
        reader = RecordReader(events)
        do {
            layout = try system.text("events/header_page").map(TracePage.Layout.init) ?? TracePage.Layout()
        } catch {
            throw MonitorError("\(error): this version cannot read them")
        }
        buffer = .allocate(byteCount: Self.pageLimit, alignment: 8)
        do {
            instance = try TraceInstance(system, keeper: keeper)
        } catch {
            buffer.deallocate()
            throw error
        }
        try prepare(size)
        for layout in events.layouts {
            let error = instance.write("1", to: "events/kvm/\(layout.rule.event)/enable")
            guard error != 0 else { continue }
            problems[layout.rule.event] =
                "\(layout.rule.event) cannot be enabled (\(String(cString: strerror(error))))"
        }
        guard problems.count < events.layouts.count else {
            throw MonitorError(problems.values.sorted().first ?? "no event can be enabled")
        }
    }

    deinit {
        for ring in rings { close(ring.descriptor) }
        buffer.deallocate()
    }

    private func prepare(_ size: Int) throws(MonitorError) {
        // Times are held against others' of CLOCK_MONOTONIC.
        let clock = instance.write("mono", to: "trace_clock")
        guard clock == 0 else {
            throw MonitorError(
                "the trace clock cannot be set (\(String(cString: strerror(clock))))",
                remedy: "Linux 3.17 and later have the clock `mono`")
        }
        var size = size
        while instance.write("\(size >> 10)", to: "buffer_size_kb") == ENOMEM, size > 1 << 16 { size /= 2 }
        // Of Linux 5.0; half is what it is without.
        _ = instance.write("25", to: "buffer_percent")
        for number in 0..<Int(sysconf(Int32(_SC_NPROCESSORS_CONF))) {
            let path = instance.path("per_cpu/cpu\(number)/trace_pipe_raw")
            let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            if descriptor >= 0 {
                rings.append(Ring(number: number, descriptor: descriptor))
            } else if errno != ENOENT {
                throw KernelFileSystem.refused(errno, at: instance.path("per_cpu"))
            }
        }
        guard !rings.isEmpty else { throw MonitorError("\(instance.path("per_cpu")) has no CPU") }
    }

    /// Readable once a quarter of a buffer is full.
    var descriptors: [Int32] { rings.map(\.descriptor) }

    func take(before end: UInt64 = .max) -> [PerfRings.Found] {
        var found: [PerfRings.Found] = []
        for place in rings.indices { drain(&rings[place], before: end, &found) }
        owners.settle()
        return order.next(found, before: end)
    }

    /// Takes whole pages until one begins at `end`: a guest may fill them as fast as they are read.
    private func drain(_ ring: inout Ring, before end: UInt64, _ found: inout [PerfRings.Found]) {
        var last = ring.last
        defer { ring.last = last }
        while true {
            let count = read(ring.descriptor, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                if count < 0, errno != EAGAIN {
                    let words = String(cString: strerror(errno))
                    trouble = MonitorError("the trace buffer of CPU \(ring.number) cannot be read (\(words))")
                }
                break
            }
            guard let page = TracePage(UnsafeRawBufferPointer(rebasing: buffer[..<count]), layout) else {
                // How many there were nobody knows, but that there were some.
                found.append(PerfRings.Found(time: last, process: 0, what: .lost(1)))
                continue
            }
            if let loss = page.loss { lose(loss, at: page.time, &ring, &found) }
            last = page.time
            let isWhole = page.events { time, record in
                last = time
                guard let thread = thread.value(in: record) else { return }
                let number = Int32(truncatingIfNeeded: thread)
                guard let event = reader.event(record, time: time, thread: number) else { return }
                found.append(
                    PerfRings.Found(time: time, process: owners.process(of: number), what: .event(event)))
            }
            if !isWhole { found.append(PerfRings.Found(time: last, process: 0, what: .lost(1))) }
            if page.time >= end { break }
        }
        // Those that never came into the buffer are in no page.
        guard let statistics = statistics(ring), statistics.dropped > ring.dropped else { return }
        let count = statistics.dropped - ring.dropped
        ring.dropped = statistics.dropped
        found.append(PerfRings.Found(time: last, process: 0, what: .lost(count)))
    }

    private func statistics(_ ring: Ring) -> TraceStatistics? {
        instance.text("per_cpu/cpu\(ring.number)/stats").map(TraceStatistics.init)
    }

    private func lose(
        _ loss: TracePage.Loss, at time: UInt64, _ ring: inout Ring, _ found: inout [PerfRings.Found]
    ) {
        let count: UInt64
        switch loss {
        case .count(let number): count = number
        case .unknown:
            // The buffer's own count has these, and perhaps some after them, of which the next page tells less then.
            let all = statistics(ring)?.overrun ?? 0
            count = all > ring.overrun ? all - ring.overrun : 1
        }
        ring.overrun &+= count
        found.append(PerfRings.Found(time: time, process: 0, what: .lost(count)))
    }
}

/// The processes of threads, from /proc. One that goes on doing something is looked up once; one that did nothing between
/// two looks may be another process' by now.
struct ThreadOwners {
    private var known: [Int32: Int32] = [:]
    private var current: Set<Int32> = []
    private var before: Set<Int32> = []
    private var last: (thread: Int32, process: Int32) = (0, 0)

    /// - Returns: 0 for a thread that ended before it was looked up.
    mutating func process(of thread: Int32) -> Int32 {
        if thread == last.thread { return last.process }
        if current.insert(thread).inserted, !before.contains(thread) {
            known[thread] = ProcessFiles.process(of: thread)
        }
        last = (thread, known[thread] ?? 0)
        return last.process
    }

    /// A look is over.
    mutating func settle() {
        known = known.filter { current.contains($0.key) }
        before = current
        current.removeAll(keepingCapacity: true)
        last = (0, 0)
    }
}
