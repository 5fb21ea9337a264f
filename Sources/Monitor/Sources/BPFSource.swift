import CLinux
import Glibc
import Host
import KVMCore

/// Counts in the kernel: a program on each of KVM's tracepoints. Where the process ends, however it ends, the kernel
/// unloads them.
package final class BPFSource: ExitSource {
    package let badge: SourceBadge
    package var names: ExitNames { events.names }
    private let events: KVMEvents
    private let maps: CounterMaps
    private let namespace: CounterProgram.PIDNamespace?
    private var programs: [Tracepoint] = []
    private var instructionPointers: Tracepoint?
    /// BPF_MAP_LOOKUP_BATCH is of Linux 5.6.
    private var hasBatches = true

    /// A program and the tracepoint that runs it.
    private final class Tracepoint {
        private let program: BPFProgram
        private let event: Int32

        init(_ layout: EventLayout, _ instructions: [BPFProgram.Instruction]) throws(MonitorError) {
            do {
                // BPF_PROG_TYPE_TRACEPOINT.
                program = try BPFProgram(type: 5, instructions)
            } catch {
                throw MonitorError(error.message, remedy: error.remedy)
            }
            let event = clinux_tracepoint_open(layout.id)
            guard event >= 0 else { throw Self.refused(layout, event) }
            self.event = event
            let result = clinux_tracepoint_run(event, program.descriptor)
            guard result == 0 else {
                throw Self.refused(layout, result)
            }
        }

        deinit { close(event) }

        private static func refused(_ layout: EventLayout, _ result: Int32) -> MonitorError {
            MonitorError(
                "the tracepoint \(layout.rule.event) cannot run a program (\(String(cString: strerror(-result))))",
                remedy: result == -EACCES || result == -EPERM
                    ? "it takes CAP_PERFMON, or kernel.perf_event_paranoid at -1: run kvmscope as root" : nil)
        }
    }

    /// - Parameter rules: the events that are counted.
    package convenience init(rules: [EventRule] = EventRule.all) throws(MonitorError) {
        try self.init(sizes: CounterMaps.Sizes(), rules: rules)
    }

    init(sizes: CounterMaps.Sizes, rules: [EventRule] = EventRule.all) throws(MonitorError) {
        events = try KVMEvents.ofThisKernel(rules)
        // Where it is refused and needed, making the maps says so.
        _ = clinux_unlimit_locked_memory()
        maps = try CounterMaps(sizes)
        namespace = CounterProgram.PIDNamespace.own
        badge = SourceBadge(.bpf, missing: events.problems.values.sorted())
        for layout in events.layouts {
            programs.append(
                try Tracepoint(
                    layout, CounterProgram.program(for: layout, CounterProgram.Descriptors(maps), namespace)))
        }
    }

    package func countInstructionPointers(_ isWanted: Bool) throws(MonitorError) {
        guard isWanted != (instructionPointers != nil) else { return }
        guard isWanted else {
            instructionPointers = nil
            return
        }
        guard let layout = events.layout("kvm_exit"),
            let program = CounterProgram.instructionPointers(
                of: layout, CounterProgram.Descriptors(maps), namespace)
        else { throw MonitorError(events.problems["kvm_exit"] ?? "kvm_exit does not tell the guest's RIP") }
        instructionPointers = try Tracepoint(layout, program)
    }

    // MARK: Reading

    package func read() throws(MonitorError) -> CounterSnapshot {
        var counters: [(key: CounterKey, counter: Counter)] = []
        try entries(maps.timed, keySize: CounterMaps.keySize) { key, value in
            counters.append((CounterKey(key), Counter(timed: value)))
        }
        try entries(maps.counted, keySize: CounterMaps.keySize) { key, value in
            counters.append((CounterKey(key), Counter(count: value.loadUnaligned(as: UInt64.self))))
        }
        var processes: [Int32: Int32] = [:]
        var lastExits: [Int32: UInt64] = [:]
        try entries(maps.threads, keySize: 4) { key, value in
            func word(_ offset: Int) -> UInt64 {
                value.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            }
            let thread = key.loadUnaligned(as: Int32.self)
            processes[thread] = Int32(truncatingIfNeeded: word(CounterMaps.State.process))
            if word(CounterMaps.State.hasReturned) != 0 {
                lastExits[thread] = word(CounterMaps.State.userspaceCode)
            }
        }
        var words = [UInt64](repeating: 0, count: CounterMaps.Losses.size / 8)
        var place: UInt32 = 0
        var losses = Losses()
        if clinux_bpf_map_lookup(maps.losses.descriptor, &place, &words) == 0 {
            losses.unkept = words[CounterMaps.Losses.unkept / 8]
            losses.unpaired = words[CounterMaps.Losses.unpaired / 8]
        }
        let now = monotonicTime()
        return CounterSnapshot(
            time: now, counters: counters,
            losses: losses, processes: processes, lastExits: lastExits)
    }

    /// Calls `body` with each entry of a map. Entries that come or go meanwhile may be left out.
    private func entries(
        _ map: CounterMaps.Map, keySize: Int,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) throws(MonitorError) {
        if hasBatches, try batches(map, keySize: keySize, body) { return }
        hasBatches = false
        try each(map, keySize: keySize, body)
    }

    /// - Returns: false where the kernel has no batches.
    private func batches(
        _ map: CounterMaps.Map, keySize: Int,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) throws(MonitorError) -> Bool {
        // All entries of a bucket come together.
        let room = 1024
        var keys = [UInt8](repeating: 0, count: room * keySize)
        var values = [UInt8](repeating: 0, count: room * map.valueSize)
        var position: UInt32 = 0
        var isFirst = true
        while true {
            var count = UInt32(room)
            let result = clinux_bpf_map_batch(
                map.descriptor, isFirst ? 1 : 0, &position, &keys, &values, &count)
            if isFirst, result == -EINVAL || result == -ENOTSUP || result == -524 { return false }
            guard result == 0 || result == -ENOENT else { throw Self.unreadable(result) }
            isFirst = false
            keys.withUnsafeBytes { keys in
                values.withUnsafeBytes { values in
                    for index in 0..<Int(count) {
                        body(
                            UnsafeRawBufferPointer(rebasing: keys[index * keySize..<(index + 1) * keySize]),
                            UnsafeRawBufferPointer(
                                rebasing: values[index * map.valueSize..<(index + 1) * map.valueSize]))
                    }
                }
            }
            if result == -ENOENT { return true }
        }
    }

    private func each(
        _ map: CounterMaps.Map, keySize: Int,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) throws(MonitorError) {
        var key = [UInt8](repeating: 0, count: keySize)
        var value = [UInt8](repeating: 0, count: map.valueSize)
        var result = clinux_bpf_map_next(map.descriptor, nil, &key)
        while result == 0 {
            let current = key
            if clinux_bpf_map_lookup(map.descriptor, current, &value) == 0 {
                current.withUnsafeBytes { key in value.withUnsafeBytes { body(key, $0) } }
            }
            result = clinux_bpf_map_next(map.descriptor, current, &key)
        }
        guard result == -ENOENT else { throw Self.unreadable(result) }
    }

    private static func unreadable(_ result: Int32) -> MonitorError {
        MonitorError("the counters in the kernel cannot be read (\(String(cString: strerror(-result))))")
    }

    package func forget(_ threads: Set<Int32>) {
        for var thread in threads { _ = clinux_bpf_map_delete(maps.threads.descriptor, &thread) }
        for descriptor in [maps.timed.descriptor, maps.counted.descriptor] {
            // A walk begins anew where its key is gone: first all keys, then the end of some.
            var gone: [[UInt8]] = []
            var key = [UInt8](repeating: 0, count: CounterMaps.keySize)
            var result = clinux_bpf_map_next(descriptor, nil, &key)
            while result == 0 {
                let thread = key.withUnsafeBytes { $0.loadUnaligned(as: Int32.self) }
                if threads.contains(thread) { gone.append(key) }
                let current = key
                result = clinux_bpf_map_next(descriptor, current, &key)
            }
            for key in gone { _ = clinux_bpf_map_delete(descriptor, key) }
        }
    }
}

extension CounterKey {
    /// 16 bytes of a map.
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        self.init(
            thread: bytes.loadUnaligned(as: Int32.self),
            tag: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self),
            code: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
}

extension Counter {
    /// ``CounterMaps/Timed`` bytes of a map.
    fileprivate init(timed bytes: UnsafeRawBufferPointer) {
        self.init()
        count = bytes.loadUnaligned(fromByteOffset: CounterMaps.Timed.count, as: UInt64.self)
        time = bytes.loadUnaligned(fromByteOffset: CounterMaps.Timed.time, as: UInt64.self)
        maximum = bytes.loadUnaligned(fromByteOffset: CounterMaps.Timed.maximum, as: UInt64.self)
        let start = CounterMaps.Timed.histogram
        histogram = Histogram(
            UnsafeRawBufferPointer(rebasing: bytes[start..<start + Histogram.bucketCount * 8]))
    }
}
