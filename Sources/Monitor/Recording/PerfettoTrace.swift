/// A recording as a trace for Perfetto: a process for each guest, a track for each vCPU, on it slices of the time in the
/// guest, in the kernel and in the VMM, and what was touched as instants.
///
/// Where the host tells no VM exits, guest and VMM cannot be told apart: a slice says so in its name. Field numbers:
/// Perfetto's protos/perfetto/trace, trace_packet.proto, track_event/*.proto and clock_snapshot.proto.
package struct PerfettoTrace {
    private enum Packet {
        static let clockSnapshot: UInt64 = 6
        static let timestamp: UInt64 = 8
        static let sequence: UInt64 = 10
        static let event: UInt64 = 11
        static let interned: UInt64 = 12
        static let flags: UInt64 = 13
        static let clock: UInt64 = 58
        static let track: UInt64 = 60
    }
    private enum Event: UInt64 {
        case begin = 1
        case end = 2
        case instant = 3
    }
    private enum Category: UInt64, CaseIterable {
        case guest = 1
        case kernel, user, access, lost

        var name: String {
            switch self {
            case .guest: "guest"
            case .kernel: "kernel"
            case .user: "user"
            case .access: "access"
            case .lost: "lost"
            }
        }
    }
    /// BUILTIN_CLOCK_REALTIME and BUILTIN_CLOCK_MONOTONIC.
    private enum Clock {
        static let realTime: UInt64 = 1
        static let monotonic: UInt64 = 3
    }
    private static let sequence: UInt64 = 1
    /// SEQ_INCREMENTAL_STATE_CLEARED and SEQ_NEEDS_INCREMENTAL_STATE.
    private static let stateCleared: UInt64 = 1
    private static let needsState: UInt64 = 2

    private struct Track {
        var isOpen = false
        var hasHardwareExits = false
    }

    private let sink: ([UInt8]) throws(MonitorError) -> Void
    private let names: ExitNames
    private var buffer = ProtobufWriter()
    private var guests = RecordedGuests()
    private var tracks: [Int32: Track] = [:]
    private var described: Set<UInt64> = []
    private var interned: [String: UInt64] = [:]
    private var isFirst = true
    private var last: UInt64
    package private(set) var packetCount: UInt64 = 0

    /// Bytes are given on in parts of so many.
    private static let part = 1 << 20

    /// Writes a whole recording as a trace.
    ///
    /// - Returns: how the recording ended.
    package static func write(
        _ reader: RecordingReader, sink: @escaping ([UInt8]) throws(MonitorError) -> Void
    ) throws(MonitorError) -> RecordingReader.Ending {
        var reader = reader
        var trace = PerfettoTrace(reader.start, sink: sink)
        while let item = try reader.next() {
            try trace.add(item)
        }
        try trace.finish()
        return reader.ending ?? .cut(at: 0)
    }

    private init(_ start: Recording.Start, sink: @escaping ([UInt8]) throws(MonitorError) -> Void) {
        self.sink = sink
        names = ExitNames(start)
        last = start.time
        packet { packet in
            packet.put(Packet.clockSnapshot) { snapshot in
                for (clock, time) in [
                    (Clock.monotonic, start.time),
                    (Clock.realTime, UInt64(max(0, min(start.wallTime, 1e10)) * 1e9)),
                ] {
                    snapshot.put(1) { entry in
                        entry.put(1, clock)
                        entry.put(2, time)
                    }
                }
                snapshot.put(2, Clock.monotonic)
            }
        }
    }

    private mutating func packet(_ body: (inout ProtobufWriter) -> Void) {
        buffer.put(1) { packet in
            packet.put(Packet.sequence, Self.sequence)
            body(&packet)
        }
        packetCount &+= 1
    }

    private mutating func add(_ item: Recording.Item) throws(MonitorError) {
        switch item {
        case .start: break
        case .guests(_, let list, let owners): guests.add(list, owners)
        case .end(let time): last = max(last, time)
        case .lost(let time, let count):
            for thread in tracks.keys.sorted() { close(thread, time) }
            event(.instant, time, track: 0, .lost, "\(count) records lost")
        case .events(let events): for event in events { add(event) }
        }
        if buffer.bytes.count >= Self.part { try pass() }
    }

    private mutating func pass() throws(MonitorError) {
        try sink(buffer.bytes)
        buffer.removeAll()
    }

    private mutating func finish() throws(MonitorError) {
        for thread in tracks.keys.sorted() { close(thread, last) }
        try pass()
    }

    // MARK: Events

    private mutating func add(_ event: ExitEvent) {
        let (thread, time) = (event.thread, event.time)
        last = max(last, time)
        var state = tracks[thread] ?? Track()
        switch event.content {
        case .exit(let code, _):
            state.hasHardwareExits = true
            tracks[thread] = state
            change(thread, time, .kernel, ReasonKey(.hardware, code).kvmStatName(names))
        case .entry:
            tracks[thread] = state
            change(thread, time, .guest, "guest")
        case .userspaceExit(let code):
            tracks[thread] = state
            let name = ReasonKey(.userspace, code).name(names)
            change(
                thread, time, .user,
                state.hasHardwareExits ? "VMM: \(name)" : "VMM, then guest: \(name)")
        case .count(let kind, let code, let emulation):
            tracks[thread] = state
            let name = kind.map { HostReport.name($0, code) }
            if emulation == .begins, !state.hasHardwareExits {
                change(thread, time, .kernel, "emulation: \(name ?? "access")")
            } else if let name {
                self.event(.instant, time, track: track(thread), .access, name)
            }
        case .timed(let kind, let code, let nanoseconds):
            tracks[thread] = state
            let how = kind == .halt ? (code & 1 == 0 ? "halt ended by polling" : "halt") : "timed"
            self.event(.instant, time, track: track(thread), .access, how, nanoseconds: nanoseconds)
        }
    }

    /// Ends the slice of a track and begins the next.
    private mutating func change(_ thread: Int32, _ time: UInt64, _ category: Category, _ name: String) {
        close(thread, time)
        event(.begin, time, track: track(thread), category, name)
        tracks[thread]?.isOpen = true
    }

    private mutating func close(_ thread: Int32, _ time: UInt64) {
        guard tracks[thread]?.isOpen == true else { return }
        event(.end, time, track: track(thread), nil, nil)
        tracks[thread]?.isOpen = false
    }

    private mutating func event(
        _ type: Event, _ time: UInt64, track: UInt64, _ category: Category?, _ name: String?,
        nanoseconds: UInt64? = nil
    ) {
        // Names are written once, and numbers stand for them; a hostile recording has no end of them.
        var new: [(id: UInt64, name: String)] = []
        var id: UInt64?
        if let name {
            if let known = interned[name] {
                id = known
            } else if interned.count < 1 << 16 {
                let number = UInt64(interned.count + 1)
                interned[name] = number
                id = number
                new = [(number, name)]
            }
        }
        let begins = isFirst
        isFirst = false
        packet { packet in
            packet.put(Packet.timestamp, time)
            packet.put(Packet.clock, Clock.monotonic)
            packet.put(Packet.flags, begins ? Self.stateCleared | Self.needsState : Self.needsState)
            if begins || !new.isEmpty {
                packet.put(Packet.interned) { data in
                    for category in begins ? Category.allCases : [] {
                        data.put(1) { entry in
                            entry.put(1, category.rawValue)
                            entry.put(2, category.name)
                        }
                    }
                    for name in new {
                        data.put(2) { entry in
                            entry.put(1, name.id)
                            entry.put(2, name.name)
                        }
                    }
                }
            }
            packet.put(Packet.event) { event in
                if let category { event.put(3, category.rawValue) }
                event.put(9, type.rawValue)
                if let id { event.put(10, id) } else if let name { event.put(23, name) }
                event.put(11, track)
                guard let nanoseconds else { return }
                event.put(4) { note in
                    note.put(10, "nanoseconds")
                    note.put(3, nanoseconds)
                }
            }
        }
    }

    // MARK: Tracks

    /// A vCPU's, described when it is first used.
    private mutating func track(_ thread: Int32) -> UInt64 {
        let track = UInt64(2) << 32 | UInt64(UInt32(bitPattern: thread))
        guard described.insert(track).inserted else { return track }
        let vcpu = guests.vcpus[thread]
        let process = vcpu?.process ?? guests.owners[thread]
        let parent = process.map { self.process($0) }
        let name = vcpu.map { "vCPU \($0.vcpu)" } ?? "thread \(thread)"
        packet { packet in
            packet.put(Packet.track) { descriptor in
                descriptor.put(1, track)
                descriptor.put(2, name)
                if let parent { descriptor.put(5, parent) }
                guard let process else { return }
                descriptor.put(4) { entry in
                    entry.put(1, process)
                    entry.put(2, thread)
                    entry.put(5, name)
                }
            }
        }
        return track
    }

    private mutating func process(_ process: Int32) -> UInt64 {
        let track = UInt64(1) << 32 | UInt64(UInt32(bitPattern: process))
        guard described.insert(track).inserted else { return track }
        let guest = guests[process]
        packet { packet in
            packet.put(Packet.track) { descriptor in
                descriptor.put(1, track)
                descriptor.put(3) { entry in
                    entry.put(1, process)
                    entry.put(6, guest.map { "\($0.name) (\($0.vmm))" } ?? "process \(process)")
                }
            }
        }
        return track
    }
}
