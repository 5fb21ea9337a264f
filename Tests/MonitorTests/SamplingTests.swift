import Host
import RecordedHosts
import Testing

@testable import Monitor

@Suite struct SamplingTests {
    @Test func anIntervalHasWhatCameInIt() throws {
        let host = RecordedHost()
        host.add(100, "web", vcpus: 2)
        host.count(.vmx(101, 12), 5, each: 1_000_000)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass(seconds: 2)
        host.count(.vmx(101, 12), 3, each: 4000)
        host.count(.vmx(102, 30), 7, each: 900)
        host.losses.unkept = 2
        let sample = try monitor.sample()
        #expect(sample.seconds == 2)
        #expect(sample.cells.map(\.key) == [.vmx(101, 12), .vmx(102, 30)])
        #expect(sample.cells.map(\.counter.count) == [3, 7])
        #expect(sample.cells[0].counter.time == 12_000)
        #expect(sample.losses.unkept == 2)
        #expect(try monitor.sample().cells.isEmpty)
    }

    @Test func timesOfThreadsAreSharesAndTheGuestIsNotCountedTwice() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        let ticks = ThreadSample.ticksPerSecond
        host.use(
            101, guest: ticks / 2, kernel: ticks / 10, user: 0, onCPU: 600_000_000, waiting: 150_000_000,
            cpu: 3)
        let share = try #require(try monitor.sample().shares[101])
        #expect(abs(share.guest - 0.5) < 0.01)
        #expect(abs(share.kernel - 0.1) < 0.01)
        #expect(share.user == 0)
        #expect(abs(try #require(share.ready) - 0.15) < 0.001)
        #expect(abs(try #require(share.asleep) - 0.25) < 0.001)
        #expect(share.hostCPU == 3)
        #expect(share.moves == 1)
    }

    @Test func countersThatWereResetStartFromZeroAndAreTold() throws {
        let host = RecordedHost()
        host.add(100, "web")
        host.count(.vmx(101, 12), 50, each: 10)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.counters = [:]
        host.pass()
        host.count(.vmx(101, 12), 4, each: 10)
        let sample = try monitor.sample()
        #expect(sample.cells.map(\.counter.count) == [4])
        #expect(sample.losses.restarted == 1)
    }

    @Test func aNewGuestIsFoundWhenItsThreadIsSeenAndOtherwiseSeldomLookedFor() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        for _ in 0..<3 {
            host.pass()
            _ = try monitor.sample()
        }
        #expect(host.listings == 1)
        host.add(200, "db")
        host.pass()
        #expect(try monitor.sample().guests.map(\.name) == ["web", "db"])
        #expect(host.listings == 2)
        // A process that no guest is found for is not looked for at every sample.
        host.processes[900] = 899
        for _ in 0..<3 {
            host.pass()
            _ = try monitor.sample()
        }
        #expect(host.listings == 3)
        host.pass(seconds: 6)
        _ = try monitor.sample()
        #expect(host.listings == 4)
    }

    /// The host is looked through every five seconds where something may have changed, and else every thirty.
    @Test func aHostWhereNothingChangedIsSeldomLookedThrough() throws {
        let host = RecordedHost()
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.mayHaveChanged = false
        func listings(after seconds: UInt64) throws -> Int {
            let before = host.listings
            for _ in 0..<seconds {
                host.time += 1_000_000_000
                _ = try monitor.sample()
            }
            return host.listings - before
        }
        #expect(try listings(after: 29) == 0)
        #expect(try listings(after: 1) == 1)
        host.mayHaveChanged = true
        #expect(try listings(after: 10) == 2)
    }

    @Test func aThreadsNumberThatComesBackIsTold() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        host.count(.vmx(101, 12), 2, each: 10)
        try monitor.begin()
        host.pass()
        host.count(.vmx(101, 12), 3, each: 10)
        // The guest has ended, and another's vCPU has its thread's number.
        host.listed = []
        host.add(200, "db")
        host.listed[0].vcpus[0].thread = 101
        host.processes[101] = 200
        let sample = try monitor.sample()
        #expect(sample.losses.restarted == 1)
        host.pass()
        #expect(try monitor.sample().losses.isEmpty)
    }

    @Test func aGuestThatEndedIsInTheSampleOfItsLastExits() throws {
        let host = RecordedHost()
        // Beyond any number that a thread can have (PID_MAX_LIMIT).
        host.add(5_000_000, "gone")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass(seconds: 6)
        host.count(.vmx(5_000_001, 12), 9, each: 10)
        host.listed = []
        let sample = try monitor.sample()
        #expect(sample.guests.map(\.name) == ["gone"])
        let report = HostReport(sample, names: host.names, badge: host.badge)
        #expect(report.guests[0].exitsPerSecond == 1.5)
        #expect(report.unownedExits == 0)
        host.pass(seconds: 6)
        #expect(try monitor.sample().guests.isEmpty)
    }

    @Test func aThreadThatIsNoVCPUYetCountsForItsProcess() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        host.count(.vmx(155, 12), 4, each: 10)
        host.processes[155] = 100
        host.count(.vmx(900, 12), 3, each: 10)
        host.processes[900] = 899
        let sample = try monitor.sample()
        #expect(sample.owners == [155: 100])
        let report = HostReport(sample, names: host.names, badge: host.badge)
        #expect(report.guests[0].exitsPerSecond == 4)
        #expect(report.unownedExits == 3)
        #expect(report.missing.contains { $0.hasPrefix("3 exits of no guest here") })
    }

    @Test func guestsThatComeAndGoLeaveNothing() throws {
        let host = RecordedHost()
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        // Beyond any number that a thread can have (PID_MAX_LIMIT), so that the kernel knows none of them.
        for round in 0..<1000 as Range<Int32> {
            let process = 5_000_000 + round * 4
            host.listed = []
            host.add(process, "guest \(round)")
            host.count(.vmx(process + 1, 12), 2, each: 100)
            host.pass(seconds: 6)
            let sample = try monitor.sample()
            #expect(sample.cells.contains { $0.key.thread == process + 1 })
            host.processes[process + 1] = nil
            host.threads[process + 1] = nil
        }
        host.listed = []
        host.pass(seconds: 6)
        _ = try monitor.sample()
        #expect(host.counters.isEmpty)
        #expect(host.forgotten.count == 1000)
        #expect(monitor.watchedThreads == 0)
    }

    @Test func historyGivesBackEachSampleWhole() throws {
        let host = RecordedHost()
        host.add(100, "web", vcpus: 2)
        let monitor = Monitor(source: host, directory: host)
        var history = SampleHistory(capacity: 10)
        try monitor.begin()
        var samples: [MonitorSample] = []
        for second in 1...25 as ClosedRange<UInt64> {
            host.pass()
            host.count(.vmx(101, 12), second, each: second * 1000)
            host.count(CounterKey(102, .mmio, CounterKey.mmioWrite | 0xFEE00), second)
            host.count(CounterKey(102, .userspaceExit, CounterKey.failedRun | 4), 1)
            host.lastExits = [102: CounterKey.failedRun | 4]
            host.losses.unpaired += 1
            host.use(101, guest: 10, kernel: 5, user: 1, onCPU: 160_000_000, waiting: 7_000_000)
            let sample = try monitor.sample()
            samples.append(sample)
            history.append(sample)
        }
        #expect(history.count == 10)
        #expect(history.numbers == 16..<26)
        #expect(history[15] == nil)
        #expect(history[26] == nil)
        for number in history.numbers {
            let kept = try #require(history[number])
            let sample = samples[number - 1]
            #expect(kept.number == number)
            #expect(kept.guests == sample.guests)
            #expect(kept.cells.map(\.key) == sample.cells.map(\.key))
            #expect(kept.cells.map(\.counter) == sample.cells.map(\.counter))
            #expect(kept.lastExits == sample.lastExits)
            #expect(kept.losses == sample.losses)
            #expect(kept.shares.keys == sample.shares.keys)
            #expect(abs(try #require(kept.shares[101]).guest - sample.shares[101]!.guest) < 0.0001)
            #expect(kept.end == sample.end)
        }
    }

    @Test func historyKeepsToItsMemory() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        var history = SampleHistory(capacity: 600, byteLimit: 4000)
        for vector in 0..<200 as Range<UInt64> {
            host.pass()
            for port in 0..<20 as Range<UInt64> { host.count(CounterKey(101, .port, vector * 20 + port), 1) }
            history.append(try monitor.sample())
        }
        #expect(history.count > 1)
        #expect(history.count < 100)
        #expect(history.latest?.number == 199)
    }

    @Test func bytesThatNoSampleWasWrittenAsAreRefused() throws {
        let host = RecordedHost()
        host.add(100, "web")
        host.count(.vmx(101, 12), 3, each: 700)
        let sample = try Monitor(source: host, directory: host).sample()
        let bytes = SampleCoding.encode(sample)
        #expect(SampleCoding.decode(bytes, into: sample) != nil)
        for length in 0..<bytes.count {
            #expect(SampleCoding.decode(Array(bytes.prefix(length)), into: sample) == nil)
        }
        #expect(SampleCoding.decode(bytes + [0], into: sample) == nil)
        // A count that claims more than there are bytes, and a number of more than 64 bits.
        #expect(SampleCoding.decode([0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0], into: sample) == nil)
        #expect(SampleCoding.decode([UInt8](repeating: 0xFF, count: 10) + [0], into: sample) == nil)
        // No byte that is changed makes it fail in another way.
        for place in bytes.indices {
            for value in [0, 0x7F, 0x80, 0xFF] as [UInt8] {
                var changed = bytes
                changed[place] = value
                if let decoded = SampleCoding.decode(changed, into: sample) {
                    #expect(decoded.cells.count <= changed.count)
                }
            }
        }
    }
}
