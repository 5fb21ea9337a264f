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
    private var timed: CounterMapReader
    private var counted: CounterMapReader
    private var claims: CounterMapReader
    private var hashed: CounterMapReader
    private var openExits = OpenExits()
    /// How many keys had been made when the maps were read last.
    private var entered: UInt64?

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
        timed = CounterMapReader(maps.timed, keySize: CounterMaps.keySize)
        counted = CounterMapReader(maps.counted, keySize: CounterMaps.keySize)
        claims = CounterMapReader(maps.claims, keySize: 4)
        hashed = CounterMapReader(maps.threads, keySize: 4)
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
        var words = [UInt64](repeating: 0, count: CounterMaps.Totals.size / 8)
        var place: UInt32 = 0
        guard clinux_bpf_map_lookup(maps.totals.descriptor, &place, &words) == 0 else {
            throw MonitorError("the counters in the kernel cannot be read: their totals are gone")
        }
        var losses = Losses()
        losses.unkept = words[CounterMaps.Totals.unkept / 8]
        losses.unpaired = words[CounterMaps.Totals.unpaired / 8]
        // Looked at first: a key that comes while the maps are read is counted after it is made, and seen the next time.
        let mayHaveCome = entered != words[CounterMaps.Totals.entered / 8]
        // Where reading them fails, the next time is a whole one.
        entered = nil
        var counters: [(key: CounterKey, counter: Counter)] = []
        try timed.read(mayHaveCome: mayHaveCome) { key, value in
            counters.append((CounterKey(key), Counter(timed: value)))
        }
        try counted.read(mayHaveCome: mayHaveCome) { key, value in
            counters.append((CounterKey(key), Counter(count: value.loadUnaligned(as: UInt64.self))))
        }
        // After the counters: an exit that is open here is in none of them.
        var processes: [Int32: Int32] = [:]
        var lastExits: [Int32: UInt64] = [:]
        var open: [CounterKey] = []
        func take(_ key: CounterKey, _ counter: Counter) { counters.append((key, counter)) }
        try threads(mayHaveCome: mayHaveCome, take) { thread, state in
            func word(_ offset: Int) -> UInt64 {
                state.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            }
            processes[thread] = Int32(truncatingIfNeeded: word(CounterMaps.State.process))
            if word(CounterMaps.State.hasReturned) != 0 {
                lastExits[thread] = word(CounterMaps.State.userspaceCode)
            }
            if word(CounterMaps.State.exitTime) != 0 {
                open.append(CounterKey(thread, .hardwareExit, word(CounterMaps.State.exitCode)))
            }
            if word(CounterMaps.State.userspaceTime) != 0 {
                open.append(CounterKey(thread, .userspaceExit, word(CounterMaps.State.userspaceCode)))
            }
        }
        openExits.add(open, to: &counters)
        entered = words[CounterMaps.Totals.entered / 8]
        let now = monotonicTime()
        return CounterSnapshot(
            time: now, counters: counters,
            losses: losses, processes: processes, lastExits: lastExits)
    }

    /// Calls `near` with each counter in a slot, and `body` with the state of each thread that has one.
    private func threads(
        mayHaveCome: Bool, _ near: (CounterKey, Counter) -> Void,
        _ body: (_ thread: Int32, _ state: UnsafeRawBufferPointer) -> Void
    ) throws(MonitorError) {
        var owners: [(slot: UInt32, thread: Int32)] = []
        try claims.read(mayHaveCome: mayHaveCome) { key, value in
            owners.append((key.loadUnaligned(as: UInt32.self), value.loadUnaligned(as: Int32.self)))
        }
        var state = [UInt8](repeating: 0, count: CounterMaps.State.size)
        var places = [UInt8](repeating: 0, count: CounterMaps.Near.size)
        for owner in owners {
            var slot = owner.slot
            // The counters first, as in the whole.
            if clinux_bpf_map_lookup(maps.near.descriptor, &slot, &places) == 0 {
                places.withUnsafeBytes { Self.readNear($0, of: owner.thread, near) }
            }
            guard clinux_bpf_map_lookup(maps.slots.descriptor, &slot, &state) == 0 else { continue }
            state.withUnsafeBytes { state in
                // One that was taken a moment ago may not say so yet.
                let thread = state.loadUnaligned(
                    fromByteOffset: CounterMaps.State.thread, as: UInt64.self)
                if thread == UInt64(UInt32(bitPattern: owner.thread)) { body(owner.thread, state) }
            }
        }
        try hashed.read(mayHaveCome: mayHaveCome) { key, state in
            body(key.loadUnaligned(as: Int32.self), state)
        }
    }

    private static func readNear(
        _ places: UnsafeRawBufferPointer, of thread: Int32, _ body: (CounterKey, Counter) -> Void
    ) {
        typealias Near = CounterMaps.Near
        func read(_ place: Int, _ counter: (UnsafeRawBufferPointer) -> Counter) {
            let kind = places.loadUnaligned(fromByteOffset: place + Near.kind, as: UInt64.self)
            guard kind != 0 else { return }
            let code = places.loadUnaligned(fromByteOffset: place + Near.code, as: UInt64.self)
            body(
                CounterKey(thread: thread, tag: UInt32(truncatingIfNeeded: kind), code: code),
                counter(UnsafeRawBufferPointer(rebasing: places[(place + Near.counter)...])))
        }
        for place in Near.timed { read(place) { Counter(timed: $0) } }
        for place in Near.plain { read(place) { Counter(count: $0.loadUnaligned(as: UInt64.self)) } }
    }

    package func forget(_ threads: Set<Int32>) {
        for var thread in threads {
            _ = clinux_bpf_map_delete(maps.threads.descriptor, &thread)
            freeSlot(of: thread)
        }
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
        // The thread's number stands first in each of their keys.
        let isGone = { (key: UnsafeRawBufferPointer) in threads.contains(key.loadUnaligned(as: Int32.self)) }
        timed.forget(isGone)
        counted.forget(isGone)
        hashed.forget(isGone)
        openExits.forget(threads)
    }

    private func freeSlot(of thread: Int32) {
        var slot = maps.slot(of: thread)
        var owner: UInt64 = 0
        guard clinux_bpf_map_lookup(maps.claims.descriptor, &slot, &owner) == 0,
            owner == UInt64(UInt32(bitPattern: thread))
        else { return }
        // What stands there first: until the claim is gone nobody takes the slot.
        let nobody = [UInt8](repeating: 0, count: CounterMaps.State.size)
        let nothing = [UInt8](repeating: 0, count: CounterMaps.Near.size)
        guard clinux_bpf_map_update(maps.slots.descriptor, &slot, nobody) == 0,
            clinux_bpf_map_update(maps.near.descriptor, &slot, nothing) == 0
        else { return }
        _ = clinux_bpf_map_delete(maps.claims.descriptor, &slot)
        claims.forget { $0.loadUnaligned(as: UInt32.self) == slot }
    }

    /// How often each of the maps was gone through as a whole.
    var walks: [Int] { [timed.walks, counted.walks, claims.walks, hashed.walks] }
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
