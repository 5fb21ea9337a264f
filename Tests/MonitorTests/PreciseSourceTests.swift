import Foundation
import PreciseTimes
import RecordedHosts
import Testing

@testable import Monitor

/// Sources that see every event know percentiles to one percent, not only to a power of two.
@Suite struct PreciseSourceTests {
    /// Events that are made up, counted as those of rings are.
    private final class EventSource: ExitSource {
        let badge = SourceBadge(.perf)
        let names = RecordedHost().names
        private var counter = RingCounter()
        private var found: [PerfRings.Found] = []
        private(set) var time: UInt64 = 1_000_000

        /// Exits of one reason, each of so many nanoseconds.
        func exits(_ count: Int, of thread: Int32, reason: UInt64 = 30, taking nanoseconds: UInt64) {
            for _ in 0..<count {
                add(
                    ExitEvent(
                        time: time, thread: thread, .exit(code: 1 << 32 | reason, instructionPointer: nil)))
                time += nanoseconds
                add(ExitEvent(time: time, thread: thread, .entry))
                time += 100
            }
        }

        private func add(_ event: ExitEvent) {
            found.append(
                PerfRings.Found(time: event.time, process: event.thread / 100 * 100, what: .event(event)))
        }

        func take() {
            counter.count(found)
            found = []
        }

        func read() -> CounterSnapshot {
            take()
            time += 1_000_000
            return counter.snapshot(at: time)
        }

        func forget(_ threads: Set<Int32>) { counter.forget(threads) }
    }

    private func isNear(_ value: UInt64?, _ wanted: UInt64) -> Bool {
        value.map { abs(Double($0) - Double(wanted)) <= Double(wanted) * 0.01 } ?? false
    }

    private func reason(_ sample: MonitorSample, _ source: EventSource, _ selection: Selection = Selection())
        throws
        -> HostReport.Reason
    {
        try #require(HostReport(sample, names: source.names, badge: source.badge).reasons(selection).first)
    }

    /// One vCPU of a guest, and 1,020 exits of it: most of 1.1 us and the last two in a hundred of 4.2 us.
    private func watched() throws -> (EventSource, Monitor, RecordedHost) {
        let host = RecordedHost()
        host.add(100, "web", vcpus: 2)
        let source = EventSource()
        let monitor = Monitor(source: source, directory: host)
        try monitor.begin()
        return (source, monitor, host)
    }

    private func run(_ source: EventSource, _ thread: Int32 = 101) {
        source.exits(1000, of: thread, taking: 1100)
        source.exits(20, of: thread, taking: 4200)
    }

    @Test func percentilesAreThoseOfTheTimes() throws {
        let (source, monitor, _) = try watched()
        // A long one before is of no later interval.
        source.exits(1, of: 101, taking: 9_000_000)
        #expect(try reason(try monitor.sample(), source).maximum == 9_000_000)
        run(source)
        let sample = try monitor.sample()
        let shown = try reason(sample, source)
        #expect(shown.count == 1020 && shown.histogram.total == 1020)
        #expect(isNear(shown.p50, 1100), "\(shown.p50 ?? 0)")
        #expect(isNear(shown.p99, 4200), "\(shown.p99 ?? 0)")
        #expect(shown.maximum == 4200)
        // To a power of two they are some other ones: what is shown of programs in the kernel.
        var bare = sample
        bare.preciseTimes = [:]
        let rough = try reason(bare, source)
        #expect(!isNear(rough.p50, 1100) && !isNear(rough.p99, 4200) && rough.maximum != 4200)
        // Nothing came in the next one.
        #expect(try monitor.sample().preciseTimes.isEmpty)
    }

    @Test func theyAreAddedUpOverVCPUs() throws {
        let (source, monitor, _) = try watched()
        source.exits(600, of: 101, taking: 1100)
        source.exits(400, of: 102, taking: 3300)
        let sample = try monitor.sample()
        let both = try reason(sample, source, Selection(process: 100))
        #expect(isNear(both.p50, 1100) && isNear(both.p99, 3300))
        #expect(isNear(try reason(sample, source, Selection(process: 100, thread: 102)).p50, 3300))
        // Where those of one are known to a power of two alone, all are: a part would be none of the whole's.
        var part = sample
        part.preciseTimes[.vmx(102, 30)] = nil
        let rough = try reason(part, source, Selection(process: 100))
        #expect(rough.p50 == rough.histogram.quantile(0.5) && !isNear(rough.p50, 1100))
    }

    @Test func secondsThatAreLookedAtAgainHaveThem() throws {
        let (source, monitor, _) = try watched()
        var history = SampleHistory()
        run(source)
        history.append(try monitor.sample())
        source.exits(10, of: 101, taking: 70_000)
        source.exits(3, of: 102, reason: 12, taking: 0)
        let sample = try monitor.sample()
        history.append(sample)
        #expect(history.latest?.preciseTimes == sample.preciseTimes && sample.preciseTimes.count == 2)
        #expect(isNear(try reason(try #require(history[1]), source).p99, 4200))
        // The oldest give theirs up first, and stay.
        var small = SampleHistory(byteLimit: 2000)
        for number in 0..<40 as Range<UInt64> {
            for step in 0..<12 as Range<UInt64> {
                source.exits(2, of: 101, taking: 1000 + number + 97 * step)
            }
            small.append(try monitor.sample())
        }
        let all = small.numbers.compactMap { small[$0] }
        #expect(all.count == small.count && all.allSatisfy { $0.cells.first?.counter.count == 24 })
        let precise = all.map { !$0.preciseTimes.isEmpty }
        #expect(precise.first == false && precise.last == true)
        #expect(precise == precise.sorted { !$0 && $1 })
    }

    @Test func bytesOfOtherSamplesAreRefused() throws {
        let (source, monitor, _) = try watched()
        run(source)
        let sample = try monitor.sample()
        let bytes = SampleCoding.encodePrecise(sample)
        #expect(SampleCoding.decodePrecise(bytes, of: sample) == sample.preciseTimes)
        for length in 1..<bytes.count {
            #expect(SampleCoding.decodePrecise(Array(bytes.prefix(length)), of: sample) == nil)
        }
        #expect(SampleCoding.decodePrecise(bytes + [0], of: sample) == nil)
        // More entries than there are bytes, and a count of more than 32 bits.
        #expect(SampleCoding.decodePrecise([0xFF, 0x7F, 1, 1], of: sample) == nil)
        #expect(SampleCoding.decodePrecise([1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], of: sample) == nil)
    }

    @Test func onlySoManyKeysHaveThem() throws {
        var accountant = ExitAccountant(maximumPrecise: 1)
        var time: UInt64 = 0
        func exit(_ thread: Int32) {
            accountant.account(ExitEvent(time: time, thread: thread, .exit(code: 7, instructionPointer: nil)))
            time += 500
            accountant.account(ExitEvent(time: time, thread: thread, .entry))
        }
        let first = CounterKey(1, .hardwareExit, 7)
        let second = CounterKey(2, .hardwareExit, 7)
        exit(1)
        exit(2)
        #expect(accountant.takePreciseTimes().mapValues(\.total) == [first: 1])
        // One that is idle gives its place up.
        exit(2)
        #expect(accountant.takePreciseTimes().isEmpty)
        exit(2)
        exit(1)
        #expect(accountant.takePreciseTimes().mapValues(\.total) == [second: 1])
        // As one that has ended does.
        accountant.forget([2])
        exit(1)
        #expect(accountant.takePreciseTimes().mapValues(\.total) == [first: 1])
        #expect(accountant.counters[first]?.count == 3)
    }

    /// In bytes.
    private func residentSize() throws -> Int {
        let words = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return try #require(words.dropFirst().first.flatMap { Int($0) }) * 4096
    }

    /// 100 guests of 4 vCPUs with 16 reasons each, and two minutes of them: nothing else may run meanwhile.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] != nil, "needs KVMSCOPE_SLOW=1"))
    func aLargeHostTakesLittleMemory() throws {
        let before = try residentSize()
        let host = RecordedHost()
        for guest in 0..<100 as Range<Int32> { host.add(10_000 + guest * 100, "guest-\(guest)", vcpus: 4) }
        let source = EventSource()
        let monitor = Monitor(source: source, directory: host)
        try monitor.begin()
        var history = SampleHistory()
        var most = 0
        for round in 0..<120 as Range<UInt64> {
            for thread in host.listed.flatMap(\.threads) {
                for reason in 0..<16 as Range<UInt64> {
                    for step in 0..<3 as Range<UInt64> {
                        source.exits(
                            1, of: thread, reason: reason, taking: 700 << (2 * step) + round * 13 % 900)
                    }
                }
                // Rings are read often.
                source.take()
            }
            let sample = try monitor.sample()
            #expect(sample.cells.count == 6400 && sample.preciseTimes.count == 2048)
            history.append(sample)
            most = max(most, try residentSize())
        }
        print("400 vCPUs: \((most - before) >> 20) MiB, \(history.count) samples kept")
        #expect(most - before < 64 << 20)
    }

    @Test func theDebuggersExitsHaveThemSinceTheStart() throws {
        let source = EventSource()
        let exits = HostExits(
            process: 100, name: "web", vcpus: { [MonitoredGuest.VCPU(id: 0, thread: 101)] },
            open: { () throws(MonitorError) in source })
        _ = try exits.look()
        source.exits(1000, of: 101, taking: 1100)
        _ = try exits.look()
        source.exits(20, of: 101, taking: 4200)
        func shown() throws -> HostReport.Reason? { try exits.look().report.reasons(Selection()).first }
        let all = try #require(try shown())
        #expect(all.count == 1020 && isNear(all.p50, 1100) && isNear(all.p99, 4200) && all.maximum == 4200)
        exits.reset()
        source.exits(10, of: 101, taking: 2500)
        #expect(isNear(try shown()?.p50, 2500))
    }
}
