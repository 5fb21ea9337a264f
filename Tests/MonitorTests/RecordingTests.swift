import Host
import RecordedHosts
import Testing

@testable import Monitor

/// Recordings, from events to bytes and back.
@Suite struct RecordingTests {
    /// Bytes as a file has them.
    final class File {
        var bytes: [UInt8] = []
        var at = 0

        init(_ bytes: [UInt8] = []) { self.bytes = bytes }

        func write(_ more: [UInt8]) { bytes += more }
        func read(_ count: Int) -> [UInt8] {
            let part = Array(bytes[min(at, bytes.count)..<min(at + count, bytes.count)])
            at += part.count
            return part
        }
        func reader() throws(MonitorError) -> RecordingReader {
            at = 0
            return try RecordingReader(source: { self.read($0) })
        }
    }

    static let start = Recording.Start(
        wallTime: 1_700_000_000, time: 1000, kernel: "6.18.0",
        formats: ["kvm_exit": KernelFormats.v618.text("kvm_exit") ?? ""], missing: ["no \u{1B}[31mone"])
    static let guests = [
        MonitoredGuest(
            process: 100, name: "web\n\"1\"", vmm: "QEMU",
            vcpus: [
                MonitoredGuest.VCPU(id: 0, thread: 101), MonitoredGuest.VCPU(id: 1, thread: 102),
                MonitoredGuest.VCPU(id: 2, thread: nil),
            ], ram: 1 << 30),
        MonitoredGuest(process: .max, name: "", vmm: "", vcpus: [], ram: nil),
    ]

    /// One of each, with the smallest and largest numbers.
    static let events: [ExitEvent] = [
        ExitEvent(time: 1000, thread: 101, .exit(code: 1 << 32 | 30, instructionPointer: nil)),
        ExitEvent(
            time: 1000, thread: 101, .count(kind: .port, code: CounterKey.write | 0x80, emulation: .begins)),
        ExitEvent(time: 1001, thread: 102, .exit(code: .max, instructionPointer: .max)),
        ExitEvent(time: 1002, thread: 101, .userspaceExit(code: 2)),
        ExitEvent(time: 1003, thread: 102, .exit(code: 0, instructionPointer: 0)),
        ExitEvent(time: 2000, thread: 101, .entry),
        ExitEvent(time: 2000, thread: .max, .userspaceExit(code: CounterKey.failedRun | 4)),
        ExitEvent(time: 2001, thread: 102, .count(kind: nil, code: .max, emulation: .completed)),
        ExitEvent(
            time: 2002, thread: 102, .count(kind: .mmio, code: CounterKey.mmioWrite | 0xFEE00, emulation: nil)
        ),
        ExitEvent(time: .max - 1, thread: .min, .timed(kind: .halt, code: 1, nanoseconds: .max)),
        ExitEvent(time: .max, thread: 101, .entry),
    ]

    static func written(ends: Bool = true) throws -> [UInt8] {
        let file = File()
        var writer = try RecordingWriter(start, sink: file.write)
        try writer.guests(guests, owners: [155: 100], at: 1000)
        for event in events.prefix(5) { try writer.add(event) }
        try writer.lost(7, at: 1004)
        for event in events.dropFirst(5) { try writer.add(event) }
        try writer.flush()
        if ends { try writer.end(at: .max) }
        #expect(writer.eventCount == UInt64(events.count) && writer.lostCount == 7)
        #expect(writer.byteCount == UInt64(file.bytes.count))
        return file.bytes
    }

    private func items(_ bytes: [UInt8]) throws -> (items: [Recording.Item], ending: RecordingReader.Ending?)
    {
        var reader = try File(bytes).reader()
        var items: [Recording.Item] = []
        while let item = try reader.next() { items.append(item) }
        #expect(try reader.next() == nil)
        return (items, reader.ending)
    }

    private func events(_ items: [Recording.Item]) -> [ExitEvent] {
        items.flatMap { item -> [ExitEvent] in if case .events(let events) = item { events } else { [] } }
    }

    @Test func whatIsWrittenIsRead() throws {
        let bytes = try Self.written()
        let (items, ending) = try items(bytes)
        #expect(ending == .whole)
        #expect(events(items) == Self.events)
        #expect(try File(bytes).reader().start == Self.start)
        guard case .guests(1000, let guests, let owners) = try #require(items.first) else {
            Issue.record("the guests come first")
            return
        }
        #expect(guests == Self.guests && owners == [155: 100])
        #expect(items.contains { if case .lost(1004, 7) = $0 { true } else { false } })
        guard case .end(.max) = try #require(items.last) else {
            Issue.record("it has an end")
            return
        }
    }

    @Test func theChecksumIsThatOfZip() {
        // The check value of CRC-32/ISO-HDLC, whole, in parts, and past the eight bytes at a time.
        #expect(Checksum.crc32(Array("123456789".utf8)) == 0xCBF4_3926)
        #expect(Checksum.crc32(Array("6789".utf8), after: Checksum.crc32(Array("12345".utf8))) == 0xCBF4_3926)
        #expect(Checksum.crc32([UInt8](repeating: 0, count: 32)) == 0x190A_55AD)
        #expect(Checksum.crc32([]) == 0)
    }

    @Test func manyEventsAreFewBytes() throws {
        let file = File()
        var writer = try RecordingWriter(Self.start, sink: file.write)
        var time: UInt64 = 5_000_000_000_000
        for number in 0..<100_000 as Range<UInt64> {
            time += 1500 + number % 100
            let thread = Int32(101 + number / 7 % 4)
            try writer.add(
                number % 2 == 0
                    ? ExitEvent(
                        time: time, thread: thread,
                        .exit(code: 1 << 32 | 30, instructionPointer: 0xFFFF_FFFF_8100_0000 + number % 64))
                    : ExitEvent(time: time, thread: thread, .entry))
        }
        try writer.end(at: time)
        #expect(file.bytes.count < 100_000 * 7, "\(file.bytes.count)")
        let (read, ending) = try items(file.bytes)
        #expect(ending == .whole && events(read).count == 100_000)
        #expect(events(read).last?.time == time)
    }

    /// Wherever the recorder is killed, what was whole is read.
    @Test func everyCutIsReadUpToThere() throws {
        let bytes = try Self.written()
        let whole = try items(bytes).items.count
        var most = 0
        for length in 0..<bytes.count {
            do {
                let (read, ending) = try items(Array(bytes.prefix(length)))
                guard case .cut(let place) = ending else {
                    Issue.record("cut at \(length): \(String(describing: ending))")
                    continue
                }
                #expect(place <= UInt64(length))
                #expect(read.count >= most && read.count < whole)
                most = max(most, read.count)
            } catch let error as MonitorError {
                // Without a whole beginning there is nothing.
                #expect(most == 0, "\(length): \(error)")
            }
        }
        #expect(most == whole - 1)
    }

    @Test func everyByteThatChangedIsFound() throws {
        let bytes = try Self.written()
        for place in bytes.indices {
            for flip in [0x01, 0x80, 0xFF] as [UInt8] {
                var changed = bytes
                changed[place] ^= flip
                guard let (read, ending) = try? items(changed) else { continue }
                #expect(ending != .whole, "byte \(place) ^ \(flip)")
                let whole = events(read)
                #expect(whole == Array(Self.events.prefix(whole.count)))
            }
        }
    }

    @Test(
        arguments: [
            ([], "no recording"), (Array("KVMSREC".utf8), "no recording"),
            ([UInt8](repeating: 0x7F, count: 4096), "no recording"),
            (Recording.magic + [2, 0], "version 2"), (Recording.magic + [1, 0], "no whole beginning"),
            (Recording.magic + [1, 0, 1, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0], "no whole beginning"),
        ] as [([UInt8], String)])
    func whatIsNoRecordingIsRefused(_ bytes: [UInt8], _ says: String) {
        let error = #expect(throws: MonitorError.self) { try File(bytes).reader() }
        #expect(error?.description.contains(says) == true)
    }

    @Test func framesOfLaterVersionsArePassedOver() throws {
        let file = File()
        var writer = try RecordingWriter(Self.start, sink: file.write)
        try writer.add(Self.events[0])
        try writer.flush()
        // Kind 200 with three bytes.
        let head: [UInt8] = [200, 3, 0, 0, 0]
        let sum = Checksum.crc32([1, 2, 3], after: Checksum.crc32(head))
        file.write(head + (0..<4).map { UInt8(truncatingIfNeeded: sum >> ($0 * 8)) } + [1, 2, 3])
        try writer.add(Self.events[5])
        try writer.end(at: 9)
        let (read, ending) = try items(file.bytes)
        #expect(ending == .whole)
        #expect(events(read) == [Self.events[0], Self.events[5]])
    }

    @Test func aRunCountsWhatWasCountedWhenItWasRecorded() throws {
        let file = File()
        var writer = try RecordingWriter(Self.start, sink: file.write)
        try writer.guests(Self.guests, owners: [155: 100], at: 1000)
        var accountant = ExitAccountant()
        for event in Self.events + [ExitEvent(time: .max, thread: 155, .userspaceExit(code: 6))] {
            try writer.add(event)
            accountant.account(event)
        }
        try writer.end(at: .max)
        let run = try RecordedRun(try file.reader())
        #expect(run.ending == .whole && run.eventCount == 12)
        let cells = Dictionary(uniqueKeysWithValues: run.sample.cells.map { ($0.key, $0.counter) })
        #expect(cells == accountant.counters)
        #expect(run.sample.guests.map(\.process) == [100, .max])
        // 100,000 exits of 10 ns, 20 ns, ... up to a millisecond.
        let many = File()
        var second = try RecordingWriter(Self.start, sink: many.write)
        for number in 1...100_000 as ClosedRange<UInt64> {
            let (time, thread) = (number * 2_000_000, Int32(101 + number % 2))
            try second.add(
                ExitEvent(time: time, thread: thread, .exit(code: 1 << 32 | 30, instructionPointer: nil)))
            try second.add(ExitEvent(time: time + number * 10, thread: thread, .entry))
        }
        try second.end(at: 300_000_000_000)
        let long = try RecordedRun(try many.reader())
        let row = try #require(
            HostReport(long.sample, names: long.names, badge: long.badge).reasons(Selection()).first)
        #expect(row.count == 100_000)
        // A power of two would be 524 to 1048 us.
        #expect(abs(Double(try #require(row.p50)) - 500_000) <= 5_000)
        #expect(abs(Double(try #require(row.p99)) - 990_000) <= 9_900)
        let report = HostReport(run.sample, names: run.names, badge: run.badge)
        let reasons = report.reasons(Selection(process: 100))
        #expect(reasons.first { $0.name == "IO_INSTRUCTION" }?.count == 1)
        // Of a thread that is no vCPU's.
        #expect(reasons.contains { $0.name == "reason 6" })
        #expect(report.missing.contains { $0.hasPrefix("times of threads") })
        #expect(report.guests[0].share.guest == nil)
    }
}

/// The recorder, with events that are made up.
@Suite struct RecorderTests {
    private final class Stream: EventStream {
        var found: [PerfRings.Found] = []
        var descriptors: [Int32] = []

        func add(_ time: UInt64, _ process: Int32, _ thread: Int32, _ content: ExitEvent.Content) {
            found.append(
                PerfRings.Found(
                    time: time, process: process, what: .event(ExitEvent(time: time, thread: thread, content))
                ))
        }

        func take(before end: UInt64) -> [PerfRings.Found] {
            let taken = found.filter { $0.time < end || end == .max }
            found.removeAll { $0.time < end || end == .max }
            return taken
        }
    }

    @Test func aThreadThatIsSeenIsLookedForAndOthersAreLeftOut() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let (stream, file) = (Stream(), RecordingTests.File())
        let recorder = try Recorder(
            stream: stream, start: RecordingTests.start, only: 100, directory: host, sink: file.write)
        #expect(host.listings == 1)
        stream.add(2_000_000, 100, 101, .userspaceExit(code: 2))
        stream.add(2_000_001, 200, 201, .userspaceExit(code: 2))
        stream.add(2_000_002, 100, 155, .userspaceExit(code: 6))
        stream.found.append(PerfRings.Found(time: 2_000_003, process: 0, what: .lost(9)))
        stream.add(90_000_000, 100, 101, .userspaceExit(code: 2))
        try recorder.record(now: 20_000_000)
        // One was unknown, which is looked for once.
        #expect(host.listings == 2)
        #expect(recorder.eventCount == 2 && recorder.lostCount == 9)
        // What was written can be read while it goes on; what is too young waits.
        let soFar = try RecordedRun(try file.reader())
        #expect(soFar.eventCount == 2)
        guard case .cut = soFar.ending else {
            Issue.record("it goes on")
            return
        }
        try recorder.record(now: 21_000_000)
        #expect(host.listings == 2)
        try recorder.end(now: 100_000_000)
        let run = try RecordedRun(try file.reader())
        #expect(run.ending == .whole && run.eventCount == 3)
        #expect(run.sample.owners == [155: 100])
        #expect(run.sample.losses.records == 9)
    }

    @Test func aDiskThatIsFullEndsIt() throws {
        var room = 3
        let (host, stream) = (RecordedHost(), Stream())
        let recorder = try Recorder(
            stream: stream, start: RecordingTests.start, only: nil, directory: host,
            sink: { _ throws(MonitorError) in
                room -= 1
                if room < 0 { throw MonitorError("no space") }
            })
        for step in 1...3 as ClosedRange<UInt64> { stream.add(step, 1, 2, .entry) }
        #expect(throws: MonitorError("no space")) {
            for step in 1...9 as ClosedRange<UInt64> {
                stream.add(step, 1, 2, .entry)
                try recorder.record(now: step * 1_000_000_000)
            }
        }
    }
}
