import CLinux
import Glibc

/// KVM's events of one CPU and the ring that their records go to.
final class PerfRing {
    enum Record {
        /// The bytes are lent for the call alone.
        case sample(time: UInt64, process: Int32, thread: Int32, bytes: UnsafeRawBufferPointer)
        case lost(time: UInt64, UInt64)
    }

    private var descriptors: [Int32] = []
    private let memory: UnsafeMutableRawPointer
    private let size: Int
    private var tail: UInt64 = 0
    /// For a record that goes on at the ring's start.
    private var joined: [UInt8] = []

    /// - Parameter size: of the ring, in bytes: a power of two, whole pages.
    /// - Returns: nil for a CPU that is not there.
    init?(cpu: Int32, _ layouts: [EventLayout], size: Int) throws(MonitorError) {
        var opened: [Int32] = []
        var address: UnsafeMutableRawPointer?
        self.size = size
        for layout in layouts {
            let event = clinux_ring_open(layout.id, cpu, UInt32(clamping: size / 4))
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

    /// Readable once a quarter of the ring is full.
    var descriptor: Int32 { descriptors.first ?? -1 }

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
        let offset = clinux_ring_offset(memory)
        // SAFETY: the mapping is a page and `size` bytes of records, which begin right after the page.
        let data = UnsafeRawBufferPointer(
            start: memory + Int(offset == 0 || offset > 4096 ? 4096 : offset), count: size)
        while head &- tail >= 8 {
            let start = Int(tail & UInt64(size - 1))
            // struct perf_event_header: type, misc, size. Records are aligned to 8 bytes, so that none of it is cut.
            guard start + 8 <= size else { break }
            let type = data.loadUnaligned(fromByteOffset: start, as: UInt32.self)
            let length = Int(data.loadUnaligned(fromByteOffset: start + 6, as: UInt16.self))
            guard length >= 8, UInt64(length) <= head &- tail, length <= size else { break }
            if start + length <= size {
                Self.record(type, UnsafeRawBufferPointer(rebasing: data[start + 8..<start + length]), body)
            } else {
                joined.removeAll(keepingCapacity: true)
                joined.append(contentsOf: data[start + 8..<size])
                joined.append(contentsOf: data[..<(start + length - size)])
                joined.withUnsafeBytes { Self.record(type, $0, body) }
            }
            tail &+= UInt64(length)
        }
        tail = head
        clinux_ring_release(memory, tail)
    }

    private static func record(_ type: UInt32, _ bytes: UnsafeRawBufferPointer, _ body: (Record) -> Void) {
        func word(_ at: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
        func number(_ at: Int) -> Int32 { bytes.loadUnaligned(fromByteOffset: at, as: Int32.self) }
        switch type {
        // PERF_RECORD_LOST: id, lost, and of struct sample_id pid, tid and time.
        case 2: if bytes.count >= 32 { body(.lost(time: word(24), word(8))) }
        // PERF_RECORD_SAMPLE: pid, tid, time, the size of the raw record and the record.
        case 9:
            guard bytes.count >= 20 else { return }
            let count = Int(UInt32(bitPattern: number(16)))
            guard count <= bytes.count - 20 else { return }
            body(
                .sample(
                    time: word(8), process: number(0), thread: number(4),
                    bytes: UnsafeRawBufferPointer(rebasing: bytes[20..<20 + count])))
        default: break
        }
    }
}

/// The rings of all CPUs: every event of KVM's, in the order of time.
final class PerfRings {
    /// An event, or how many were lost.
    struct Found {
        enum What {
            case event(ExitEvent)
            case lost(UInt64)
        }
        var time: UInt64
        var process: Int32
        var what: What
    }

    private let reader: RecordReader
    private var rings: [PerfRing] = []
    private var order = EventOrder()

    /// - Parameter size: of each ring, in bytes: a power of two.
    init(_ events: KVMEvents, size: Int) throws(MonitorError) {
        reader = RecordReader(events)
        for cpu in 0..<Int32(clamping: sysconf(Int32(_SC_NPROCESSORS_CONF))) {
            if let ring = try PerfRing(cpu: cpu, events.layouts, size: size) { rings.append(ring) }
        }
        for ring in rings { try ring.start() }
    }

    /// Readable once some ring is a quarter full.
    var descriptors: [Int32] { rings.map(\.descriptor) }

    /// Takes what has come.
    ///
    /// - Parameter end: what is not older is kept for the next call, as ``EventOrder`` has it.
    func take(before end: UInt64 = .max) -> [Found] {
        var found: [Found] = []
        for ring in rings {
            ring.drain { record in
                switch record {
                case .sample(let time, let process, let thread, let bytes):
                    if let event = reader.event(bytes, time: time, thread: thread) {
                        found.append(Found(time: time, process: process, what: .event(event)))
                    }
                case .lost(let time, let count):
                    found.append(Found(time: time, process: 0, what: .lost(count)))
                }
            }
        }
        return order.next(found, before: end)
    }
}
