import Glibc
import Host
import RecordedHosts
import Testing

@testable import Monitor

/// Pages of trace buffers, written by hand.
@Suite struct TracePageTests {
    private static let record: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]

    @Test func eventsAreCountedFromThePagesTime() throws {
        var writer = PageWriter(at: 1000)
        // The first one is at the page's time.
        writer.short(Self.record, after: 0)
        writer.short([9, 9, 9, 9], after: 7)
        // Beyond 28 words a length is told apart.
        let long = [UInt8](repeating: 5, count: 200)
        writer.long(long, after: 20)
        let read = try #require(ReadPage(writer.page()))
        #expect(read.times == [1000, 1007, 1027])
        #expect(read.records == [Self.record, [9, 9, 9, 9], long])
        #expect(read.isWhole && read.loss == nil)
    }

    @Test func timeGoesOnByExtensionsAndStamps() throws {
        let start: UInt64 = 3 << 59 | 500
        var writer = PageWriter(at: start)
        // Ten seconds do not fit the 27 bits of a header.
        writer.extend(10_000_000_000)
        writer.short(Self.record, after: 3)
        // A stamp sets the lower 59 bits; the highest stay as they were,
        writer.stamp(20_000_000_000)
        writer.short(Self.record, after: 4)
        // or go up by one where the lower ones ran over in between.
        writer.stamp(100)
        writer.short(Self.record, after: 5)
        let read = try #require(ReadPage(writer.page()))
        #expect(
            read.times == [start + 10_000_000_003, 3 << 59 | 20_000_000_004, 4 << 59 | 105])
        // Below 2^59 nanoseconds, which is 18 years, a stamp is the time itself.
        var early = PageWriter(at: 50)
        early.stamp(7000)
        early.short(Self.record, after: 1)
        #expect(ReadPage(early.page())?.times == [7001])
    }

    @Test func whatWasTakenBackIsNoEvent() throws {
        var writer = PageWriter(at: 10)
        writer.discarded([0xFF, 0xFF, 0xFF, 0xFF])
        writer.short(Self.record, after: 2)
        writer.end()
        // After the end of a page's events there is what was there before.
        writer.put(kind: 5, after: 9, [UInt8](repeating: 0xEE, count: 20))
        let read = try #require(ReadPage(writer.page()))
        #expect(read.times == [12] && read.records == [Self.record] && read.isWhole)
    }

    @Test func whatWasMissedBeforeAPageIsTold() throws {
        var writer = PageWriter(at: 10)
        writer.short(Self.record, after: 0)
        // RB_MISSED_EVENTS and RB_MISSED_STORED, and after the events their number. The kernel adds the first one as a
        // negative number: the counter's high half is all ones then.
        writer.flags = 0xFFFF_FFFF_8000_0000 &+ 0x4000_0000
        writer.tail = PageWriter.long(1234)
        let stored = try #require(ReadPage(writer.page()))
        #expect(stored.loss == .count(1234) && stored.times == [10] && stored.isWhole)
        // Without room for a number.
        writer.flags = 0x8000_0000
        #expect(ReadPage(writer.page())?.loss == .unknown)
        // The number is said to be there, and the page ends before it.
        writer.flags = 0xC000_0000
        writer.tail = [1, 2, 3]
        #expect(ReadPage(writer.page(size: 0))?.loss == .unknown)
    }

    @Test func pagesThatMakeNoSenseAreCutThere() throws {
        var writer = PageWriter(at: 10)
        writer.short(Self.record, after: 0)
        let good = writer
        func rest(_ change: (inout PageWriter) -> Void) -> ReadPage? {
            var writer = good
            change(&writer)
            return ReadPage(writer.page(size: 0))
        }
        // Each has the record before what is wrong, and says that this is not all.
        let broken = [
            // A record that ends after the page's events.
            rest { $0.put(kind: 4, after: 1, [0, 0, 0, 0]) },
            // A long one, too, and one that does not even count its own length.
            rest { $0.put(kind: 0, after: 1, PageWriter.word(0xFFFF_FFFF)) },
            rest { $0.put(kind: 0, after: 1, PageWriter.word(3)) },
            // Headers that lack their second word.
            rest { $0.put(kind: 0, after: 1) }, rest { $0.put(kind: 30, after: 1) },
            rest { $0.put(kind: 31, after: 1) }, rest { $0.put(kind: 29, after: 1) },
            // Something taken back that is longer than the rest.
            rest { $0.put(kind: 29, after: 1, PageWriter.word(5)) },
        ]
        for read in broken {
            #expect(read?.records == [Self.record])
            #expect(read?.isWhole == false)
        }
        // More events than there are bytes, and no room for a page's head.
        writer.flags = 1
        #expect(ReadPage(writer.page(size: 0)) == nil)
        #expect(ReadPage([UInt8](repeating: 0, count: 15)) == nil && ReadPage([]) == nil)
        #expect(ReadPage([UInt8](repeating: 0, count: 16))?.times == [])
    }

    @Test func noCutOfAPageIsReadBeyond() throws {
        var writer = PageWriter(at: 1 << 60)
        for number in 0..<20 as Range<UInt32> {
            writer.short(Self.record, after: number)
            writer.extend(1 << 30)
            writer.long([UInt8](repeating: UInt8(number), count: 120), after: 1)
        }
        let page = writer.page(size: 0)
        for count in 0..<page.count {
            // Cut with its counter as it was it is no page; with one that is cut as well its whole events are left.
            #expect(ReadPage(Array(page[..<count])) == nil)
            guard count >= 16 else { continue }
            var cut = Array(page[..<count])
            cut.replaceSubrange(8..<16, with: PageWriter.long(UInt64(count - 16)))
            let read = try #require(ReadPage(cut))
            #expect(read.records.reduce(0) { $0 + $1.count } <= count - 16)
        }
    }

    @Test func theKernelSaysWhereWhatIs() throws {
        // Linux 6.18, `events/header_page`.
        let now = """
            \tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
            \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
            \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
            \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;

            """
        #expect(try TracePage.Layout(now) == TracePage.Layout())
        // A 32-bit kernel has a counter of four bytes.
        let short = now.replacing("offset:8;\tsize:8", with: "offset:8;\tsize:4").replacing(
            "offset:16;\tsize:4080", with: "offset:12;\tsize:4084")
        let layout = try TracePage.Layout(short)
        var writer = PageWriter(at: 77)
        writer.short(Self.record, after: 1)
        var page = writer.page(size: 0)
        page.removeSubrange(12..<16)
        #expect(ReadPage(page, layout)?.times == [78])
        for bad in [
            "", "\tfield: u64 timestamp;\toffset:0;\tsize:4;\tsigned:0;\n",
            now.replacing("commit", with: "x"),
        ] { #expect(throws: TracepointFormat.Problem.self) { try TracePage.Layout(bad) } }
    }

    @Test func statisticsOfABuffer() {
        let text = """
            entries: 2152
            overrun: 12
            commit overrun: 1
            bytes: 56264
            oldest event ts: 35561.997680
            now ts: 35562.250661
            dropped events: 3
            read events: 468

            """
        let statistics = TraceStatistics(text)
        #expect(statistics.overrun == 12 && statistics.dropped == 4)
        #expect(TraceStatistics("overrun: many\nno line\n") == TraceStatistics(""))
    }

    /// From bytes of a page to what is counted.
    @Test(arguments: KernelFormats.allCases) func recordsOfAPageAreCounted(_ kernel: KernelFormats) throws {
        let records = Records(kernel)
        var writer = PageWriter(at: 5000)
        func put(_ event: String, _ values: [String: Int64], after delta: UInt32) throws {
            writer.short(
                try records.bytes(event, values.merging(["common_pid": 4711]) { first, _ in first }),
                after: delta)
        }
        try put("kvm_exit", ["exit_reason": 30, "isa": 1, "guest_rip": 0x7C00], after: 0)
        try put("kvm_userspace_exit", ["reason": 2], after: 100)
        try put("kvm_entry", [:], after: 900)
        let thread = try #require(records.events.thread)
        var counter = RingCounter()
        let page = writer.page()
        var found: [PerfRings.Found] = []
        page.withUnsafeBytes { bytes in
            _ = TracePage(bytes, TracePage.Layout())?.events { time, record in
                let number = Int32(truncatingIfNeeded: thread.value(in: record) ?? 0)
                guard let event = records.reader.event(record, time: time, thread: number) else { return }
                found.append(PerfRings.Found(time: time, process: 4700, what: .event(event)))
            }
        }
        counter.count(found)
        let snapshot = counter.snapshot(at: 6000)
        let counters = Dictionary(uniqueKeysWithValues: snapshot.counters.map { ($0.key, $0.counter) })
        #expect(counters[CounterKey(4711, .hardwareExit, 1 << 32 | 30)]?.time == 1000)
        #expect(counters[CounterKey(4711, .userspaceExit, 2)]?.time == 900)
        // RIPs are counted once they are asked for.
        #expect(!snapshot.counters.contains { $0.key.kind == .instructionPointer })
        #expect(snapshot.processes == [4711: 4700] && snapshot.lastExits == [4711: 2])
        try counter.countInstructionPointers(true, records.events)
        counter.count(found)
        #expect(counter.snapshot(at: 7000).counters.contains { $0.key.code == 0x7C00 })
        #expect(throws: MonitorError.self) {
            try counter.countInstructionPointers(true, KVMEvents { _ in nil })
        }
    }

    @Test func eventsOfTwoCPUsComeInTheOrderOfTime() {
        func entry(_ time: UInt64) -> PerfRings.Found {
            PerfRings.Found(time: time, process: 1, what: .lost(time))
        }
        var order = EventOrder()
        #expect(
            order.next([5, 9, 20].map(entry) + [3, 7, 30].map(entry), before: 10).map(\.time) == [3, 5, 7, 9])
        #expect(order.next([entry(15)], before: 25).map(\.time) == [15, 20])
        #expect(order.next([], before: .max).map(\.time) == [30])
    }
}

/// Instances of tracefs, on folders that are made up: what needs the kernel is in ``TraceFSLiveTests``.
@Suite struct TraceInstanceTests {
    @Test func namesSayWhoseTheyAre() throws {
        let own = "\(getpid())-\(try #require(ProcessFiles(getpid()).startTime))"
        #expect(!TraceInstance.isStale("kvmscope-\(own)-1f"))
        // Another process has the number by now, or none.
        #expect(TraceInstance.isStale("kvmscope-\(getpid())-1-1f"))
        #expect(TraceInstance.isStale("kvmscope-\(Int32.max)-1-1f"))
        // What others have made, and names that this version does not know.
        for name in [
            "perf", "kvmscope", "kvmscope-", "kvmscope-1", "kvmscope-0-1-2", "kvmscope-x-1-2", "a-1-2-3",
        ] {
            #expect(!TraceInstance.isStale(name))
        }
    }

    /// A folder like tracefs', with these instances.
    private func folder(_ instances: [String]?) throws -> KernelFileSystem {
        var template = Array("/tmp/kvmscope-trace-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let instances {
            try #require(mkdir("\(root)/instances", 0o700) == 0)
            for name in instances { try #require(mkdir("\(root)/instances/\(name)", 0o700) == 0) }
        }
        return KernelFileSystem(root: root)
    }

    @Test func thoseOfTheDeadAreRemoved() throws {
        let own = "kvmscope-\(getpid())-\(try #require(ProcessFiles(getpid()).startTime))-2"
        let system = try folder([own, "perf", "kvmscope-\(Int32.max)-1-1", "kvmscope-\(getpid())-1-1"])
        TraceInstance.removeStale(system)
        #expect(Set(try #require(ProcessFiles.names(in: "\(system.root)/instances"))) == [own, "perf"])
        for name in [own, "perf"] { #expect(TraceInstance.remove(name, system)) }
        rmdir("\(system.root)/instances")
        rmdir(system.root)
    }

    @Test func whatStandsInTheWayIsNamed() throws {
        let system = try folder(nil)
        defer { rmdir(system.root) }
        // A kernel without instances.
        let error = #expect(throws: MonitorError.self) {
            try TraceInstance(system, keeper: HelperProgram(path: "/bin/true", arguments: []))
        }
        #expect(error?.message.contains("has no instances") == true)
        #expect(error?.remedy == "Linux 3.10 and later have them")
        #expect(TraceInstance.refused(EACCES, at: "/t").remedy?.contains("as root") == true)
        #expect(TraceInstance.refused(EROFS, at: "/t").message == "/t is mounted read-only")
        #expect(KernelFileSystem.refused(EPERM, at: "/t").remedy == "the kernel is locked down")
        #expect(
            TraceInstance.refused(ENOSPC, at: "/t").message.contains("No space left on device"))
        // Nobody to remove it: it is not made.
        let other = try folder([])
        let none = #expect(throws: MonitorError.self) {
            try TraceInstance(other, keeper: HelperProgram(path: "/nowhere/x", arguments: []))
        }
        #expect(none?.message.contains("cannot start /nowhere/x") == true)
        #expect(ProcessFiles.names(in: "\(other.root)/instances") == [])
        rmdir("\(other.root)/instances")
        rmdir(other.root)
    }
}
