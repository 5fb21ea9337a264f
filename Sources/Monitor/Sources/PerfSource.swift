import CLinux
import Glibc
import KVMCore

/// Reads every event from perf's rings, one a CPU, and counts them here: where programs may not be loaded.
package final class PerfSource: ExitSource {
    package let badge: SourceBadge
    package var names: ExitNames { events.names }
    private let events: KVMEvents
    private let reader: RecordReader
    private var rings: [Ring] = []
    private var accountant = ExitAccountant()

    /// Of each ring, in bytes: a power of two.
    static let ringSize = 1 << 21

    /// - Parameters:
    ///   - rules: the events that are counted.
    ///   - missing: why no better source is used.
    package init(rules: [EventRule] = EventRule.all, missing: [String]) throws(MonitorError) {
        let tracing = try KernelFileSystem.tracing()
        events = KVMEvents(rules: rules) { tracing.text("events/kvm/\($0)/format") }
        reader = RecordReader(events)
        badge = SourceBadge(.perf, missing: missing + events.problems.values.sorted())
        guard !events.layouts.isEmpty else {
            throw MonitorError("this kernel has none of KVM's tracepoints")
        }
        for cpu in 0..<Int32(clamping: sysconf(Int32(_SC_NPROCESSORS_CONF))) {
            if let ring = try Ring(cpu: cpu, events.layouts) { rings.append(ring) }
        }
        for ring in rings { try ring.start() }
    }

    package func read() throws(MonitorError) -> CounterSnapshot {
        let now = monotonicTime()
        var found: [Found] = []
        for ring in rings {
            ring.drain { record in
                switch record {
                case .sample(let time, let thread, let bytes):
                    if let event = reader.event(bytes, time: time, thread: thread) {
                        found.append(.event(event))
                    }
                case .lost(let time, let count): found.append(.lost(time: time, count))
                }
            }
        }
        // A thread that moved has its records in two rings. What was lost counts where it was: an exit before it and an
        // entry after it do not belong together.
        found.sort { $0.time < $1.time }
        for record in found {
            switch record {
            case .event(let event): accountant.account(event)
            case .lost(_, let count): accountant.lost(count)
            }
        }
        return CounterSnapshot(
            time: now,
            counters: accountant.counters.map { (key: $0.key, counter: $0.value) },
            losses: accountant.losses, lastExits: accountant.lastExits)
    }

    package func forget(_ threads: Set<Int32>) { accountant.forget(threads) }

    private enum Found {
        case event(ExitEvent)
        case lost(time: UInt64, UInt64)

        var time: UInt64 {
            switch self {
            case .event(let event): event.time
            case .lost(let time, _): time
            }
        }
    }
}

/// The events of one CPU and the ring that their records go to.
private final class Ring {
    enum Record {
        case sample(time: UInt64, thread: Int32, bytes: [UInt8])
        case lost(time: UInt64, UInt64)
    }

    private var descriptors: [Int32] = []
    private let memory: UnsafeMutableRawPointer
    private let size: Int
    private var tail: UInt64 = 0

    /// Nil for a CPU that is not there.
    init?(cpu: Int32, _ layouts: [EventLayout]) throws(MonitorError) {
        var opened: [Int32] = []
        var address: UnsafeMutableRawPointer?
        size = PerfSource.ringSize
        for layout in layouts {
            let event = clinux_ring_open(layout.id, cpu)
            if event == -ENODEV, opened.isEmpty { return nil }
            var result = event
            if event >= 0 {
                opened.append(event)
                // The others can share the ring of the first once it is there.
                result =
                    opened.count == 1
                    ? clinux_map_shared(event, size + 4096, 1, &address) : clinux_ring_share(event, opened[0])
            }
            guard result >= 0 else {
                for descriptor in opened { close(descriptor) }
                if let address { clinux_unmap(address, size + 4096) }
                throw Self.refused(layout.rule.event, result)
            }
        }
        guard let address else { return nil }
        memory = address
        descriptors = opened
    }

    deinit {
        clinux_unmap(memory, size + 4096)
        for descriptor in descriptors { close(descriptor) }
    }

    private static func refused(_ what: String, _ result: Int32) -> MonitorError {
        MonitorError(
            "perf_event_open refuses \(what) (\(String(cString: strerror(-result))))",
            remedy: result == -EACCES || result == -EPERM
                ? "it takes CAP_PERFMON, or kernel.perf_event_paranoid at -1: run kvmscope as root" : nil)
    }

    func start() throws(MonitorError) {
        for descriptor in descriptors {
            let result = clinux_ring_start(descriptor)
            guard result == 0 else { throw Self.refused("to start", result) }
        }
    }

    /// Takes all records that are there. Source of their form: perf_event_open(2), "MMAP layout".
    func drain(_ body: (Record) -> Void) {
        let head = clinux_ring_head(memory)
        while head &- tail >= 8 {
            // struct perf_event_header: type, misc, size.
            let header = bytes(at: tail, count: 8)
            let type = header.number(0, 4)
            let length = header.number(6, 2)
            guard length >= 8, length <= head &- tail else { break }
            if let record = Self.record(type, bytes(at: tail &+ 8, count: Int(length) - 8)) { body(record) }
            tail &+= length
        }
        tail = head
        clinux_ring_release(memory, tail)
    }

    private static func record(_ type: UInt64, _ body: [UInt8]) -> Record? {
        switch type {
        // PERF_RECORD_LOST: id, lost, and of struct sample_id pid, tid and time.
        case 2: return body.count >= 32 ? .lost(time: body.number(24, 8), body.number(8, 8)) : nil
        // PERF_RECORD_SAMPLE: pid, tid, time, the size of the raw record and the record.
        case 9:
            guard body.count >= 20 else { return nil }
            let count = Int(body.number(16, 4))
            guard count <= body.count - 20 else { return nil }
            return .sample(
                time: body.number(8, 8), thread: Int32(truncatingIfNeeded: body.number(4, 4)),
                bytes: Array(body[20..<20 + count]))
        default: return nil
        }
    }

    /// A copy of a part of the ring, which may go on at its start.
    private func bytes(at place: UInt64, count: Int) -> [UInt8] {
        let offset = clinux_ring_offset(memory)
        // SAFETY: the mapping is a page and `size` bytes of records, which begin right after the page.
        let data = memory + Int(offset == 0 || offset > 4096 ? 4096 : offset)
        let start = Int(place & UInt64(size - 1))
        let head = min(count, size - start)
        // SAFETY: both parts lie inside the ring; the kernel writes there only what was released to it.
        return Array(UnsafeRawBufferPointer(start: data + start, count: head))
            + Array(UnsafeRawBufferPointer(start: data, count: count - head))
    }
}

extension [UInt8] {
    /// So many bytes at a place inside, the lowest first.
    fileprivate func number(_ at: Int, _ count: Int) -> UInt64 {
        self[at..<at + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
