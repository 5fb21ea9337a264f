import CLinux
import Foundation
import Host
import KVMCore
import PreciseTimes
import TargetConformance
import Testing

@testable import Monitor

/// Sources on this host, against a VMM that counts its exits itself.
@Suite(.serialized, .enabled(if: TinyVMM.isThere, "needs /dev/kvm and root"))
struct LiveSourceTests {
    private static let io = UInt64(2)

    /// What a source counts between two looks lies between what the VMM counted inside and around them.
    func compare(_ source: any ExitSource, _ guest: TinyVMM) throws {
        let monitor = Monitor(source: source, directory: HostGuests(only: guest.pid))
        let before = try guest.returns()
        try monitor.begin()
        let first = try guest.returns()
        usleep(200_000)
        let last = try guest.returns()
        let sample = try monitor.sample()
        let after = try guest.returns()
        for (vcpu, thread) in try guest.threads().enumerated() {
            let cell = try #require(
                sample.cells.first { $0.key == CounterKey(thread, .userspaceExit, Self.io) })
            // A return is counted by the kernel a moment before the VMM sees it.
            #expect(cell.counter.count + 1 >= last[vcpu] - first[vcpu])
            #expect(cell.counter.count <= after[vcpu] - before[vcpu] + 1)
            let ports = sample.cells.filter { $0.key.thread == thread && $0.key.kind == .port }
            #expect(Set(ports.map(\.key.code)).isSubset(of: [CounterKey.write | 0x10, 0x11]))
            let all = ports.reduce(0) { $0 + $1.counter.count }
            // The ports are read a moment after the returns: they are held against the VMM, too.
            #expect(all + 2 >= last[vcpu] - first[vcpu] && all <= after[vcpu] - before[vcpu] + 2)
            // Where this host tells hardware exits, their times are known; else those of the emulation.
            let timed = sample.cells.filter {
                $0.key.thread == thread && ($0.key.kind == .hardwareExit || $0.key.kind == .emulation)
            }
            #expect(timed.reduce(0) { $0 + $1.counter.histogram.total } > 0)
            #expect(sample.lastExits[thread] == Self.io)
            for cell in timed where source.badge.hasPreciseTimes {
                #expect(sample.preciseTimes[cell.key]?.total ?? 0 == cell.counter.histogram.total)
            }
        }
        // On a slow host rings may be full before they are read, which is counted.
        #expect(sample.losses.isEmpty || !(source is BPFSource) && HostPace.factor > 2)
        #expect(sample.guests.map(\.process) == [guest.pid])
        let report = HostReport(sample, names: source.names, badge: source.badge)
        #expect(report.guests[0].exitsPerSecond ?? 0 > 0)
        #expect(report.reasons(Selection(process: guest.pid)).contains { $0.name == "IO" || $0.name == "io" })
    }

    @Test func programsCountWhatTheVMMCounts() throws {
        try compare(try BPFSource(), try TinyVMM(vcpus: 2))
    }

    @Test func ringsCountWhatTheVMMCounts() throws {
        try compare(try PerfSource(missing: []), try TinyVMM(vcpus: 2))
    }

    @Test func programsKeepNoEventFromOthers() throws {
        let guest = try TinyVMM()
        // Whoever counts the same events, as perf does, goes on counting them.
        let programs = try BPFSource()
        try compare(try PerfSource(missing: []), guest)
        let thread = try guest.threads()[0]
        #expect(try programs.read().counters.contains { $0.key.thread == thread })
    }

    @Test func theTwoFindTheSameTimes() throws {
        let guest = try TinyVMM()
        let programs = try BPFSource()
        let rings = try PerfSource(missing: [])
        let thread = try guest.threads()[0]
        func times(_ snapshot: CounterSnapshot) -> [CounterKey: Counter] {
            Dictionary(
                snapshot.counters.filter { $0.key.thread == thread && $0.key.kind?.isTimed == true },
                uniquingKeysWith: { first, _ in first })
        }
        let (first, second) = (times(try programs.read()), times(try rings.read()))
        usleep(300_000)
        let (third, fourth) = (times(try programs.read()), times(try rings.read()))
        for (key, counter) in third where counter.histogram.total > 1000 {
            let counted = try #require(counter.since(first[key] ?? Counter()))
            let total = try #require(fourth[key])
            let accounted = try #require(total.since(second[key] ?? Counter()))
            let one = try #require(counted.histogram.quantile(0.5))
            let other = try #require(accounted.histogram.quantile(0.5))
            // The two read the clock a little apart from each other.
            #expect(abs(Histogram.bucket(of: one) - Histogram.bucket(of: other)) <= 1)
        }
    }

    @Test func whatFindsNoRoomIsCounted() throws {
        let guest = try TinyVMM(vcpus: 2)
        let source = try BPFSource(sizes: CounterMaps.Sizes(threads: 1, hashed: 1, timed: 1, counted: 1))
        _ = guest
        usleep(100_000)
        let snapshot = try source.read()
        // One has the slot, and one is in the hash.
        #expect(snapshot.processes.count <= 2)
        #expect(snapshot.losses.unkept > 0)
    }

    /// More threads than slots: some have their state in the hash, and all are counted alike.
    @Test func threadsThatShareASlotAreCountedAlike() throws {
        let guest = try TinyVMM(vcpus: 6)
        let source = try BPFSource(sizes: CounterMaps.Sizes(threads: 4))
        let threads = try guest.threads()
        func returns() throws -> [UInt64] {
            let snapshot = try source.read()
            return threads.map { thread in
                snapshot.counters.first { $0.key == CounterKey(thread, .userspaceExit, Self.io) }?
                    .counter.count ?? 0
            }
        }
        usleep(50_000)
        let before = try guest.returns()
        let first = try returns()
        let inside = try guest.returns()
        usleep(300_000)
        let last = try guest.returns()
        let end = try returns()
        let after = try guest.returns()
        for vcpu in threads.indices {
            #expect(end[vcpu] - first[vcpu] + 1 >= last[vcpu] - inside[vcpu])
            #expect(end[vcpu] - first[vcpu] <= after[vcpu] - before[vcpu] + 1)
            #expect(end[vcpu] > first[vcpu])
        }
        #expect(Set(threads).isSubset(of: try source.read().processes.keys))
        guest.end()
        source.forget(Set(threads))
        let left = try source.read()
        #expect(left.processes.keys.allSatisfy { !threads.contains($0) })
        #expect(!left.counters.contains { threads.contains($0.key.thread) })
    }

    /// The first counters of a thread stand in its slot, and others in the hash: each key has one.
    @Test func countersBeyondAThreadsSlotAreCountedToo() throws {
        // out PORT, al: once to ten ports, three times over; then all again.
        let ports = (0x30..<0x3A).map { UInt8($0) }
        let round = ports.flatMap { [0xE6, $0] as [UInt8] }
        let back = UInt8(truncatingIfNeeded: -(round.count + 2))
        let guest = try CodeGuest(round + [0xEB, back])
        let source = try BPFSource()
        let thread = clinux_thread_id()
        func counters() throws -> [CounterKey: UInt64] {
            let all = try source.read().counters.filter { $0.key.thread == thread && $0.key.kind == .port }
            #expect(Set(all.map(\.key)).count == all.count)
            return Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0.counter.count) })
        }
        for rounds in [1, 3] as [UInt64] {
            let before = try counters()
            for _ in 0..<Int(rounds) * ports.count { _ = try guest.vcpus[0].run() }
            let after = try counters()
            for port in ports {
                let key = CounterKey(thread, .port, CounterKey.write | UInt64(port))
                #expect((after[key] ?? 0) - (before[key] ?? 0) == rounds, "port \(port)")
            }
        }
        source.forget([thread])
        #expect(try counters().isEmpty)
        _ = try guest.vcpus[0].run()
        #expect(try counters().values.reduce(0, +) == 1)
    }

    @Test func threadsThatAreForgottenLeaveNoEntry() throws {
        let guest = try TinyVMM()
        let source = try BPFSource()
        usleep(50_000)
        let thread = try guest.threads()[0]
        guest.end()
        #expect(try source.read().counters.contains { $0.key.thread == thread })
        source.forget([thread])
        let snapshot = try source.read()
        #expect(!snapshot.counters.contains { $0.key.thread == thread })
        #expect(snapshot.processes[thread] == nil)
    }

    @Test func mapsAreGoneThroughOnlyWhereKeysHaveCome() throws {
        let guest = try TinyVMM()
        let thread = try guest.threads()[0]
        let source = try BPFSource()
        func returns(_ snapshot: CounterSnapshot, of thread: Int32) -> UInt64? {
            snapshot.counters.first { $0.key == CounterKey(thread, .userspaceExit, Self.io) }?.counter.count
        }
        // Guests of other tests come and go beside this one, and each makes keys.
        let end = ContinuousClock.now + .seconds(60)
        var wasSpared = false
        while !wasSpared, ContinuousClock.now < end {
            usleep(20_000)
            let before = returns(try source.read(), of: thread)
            let walks = source.walks
            usleep(20_000)
            let after = try #require(returns(try source.read(), of: thread))
            wasSpared = source.walks == walks
            if let before { #expect(after > before) }
        }
        #expect(wasSpared)
        let other = try TinyVMM()
        let new = try other.threads()[0]
        usleep(20_000)
        #expect(returns(try source.read(), of: new) ?? 0 > 0)
    }

    @Test func sourcesThatComeAndGoLeaveNoDescriptor() throws {
        // Those that a source is made of: other files come and go with the tests beside this one.
        func open() throws -> Int {
            let manager = FileManager.default
            return try manager.contentsOfDirectory(atPath: "/proc/self/fd").count { name in
                let link = (try? manager.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)")) ?? ""
                return link.contains("bpf") || link.contains("perf_event")
            }
        }
        _ = try BPFSource().read()
        let before = try open()
        for _ in 0..<5 { _ = try BPFSource().read() }
        for _ in 0..<5 { _ = try PerfSource(missing: []).read() }
        // Tests beside this one have sources for a while, and the kernel's reader stays; what is lost stays, too, and is more.
        let end = ContinuousClock.now + .seconds(60)
        while try open() > before + 8, ContinuousClock.now < end { usleep(50_000) }
        #expect(try open() <= before + 8)
    }

    @Test func theBestSourceSaysWhatIsMissing() throws {
        #expect(try BestSource.open().badge.way == .bpf)
        let proc = try BestSource.open([.proc])
        #expect(proc.badge.way == .proc)
        #expect(proc.badge.missing == ["no exits at all: only the time of threads"])
        #expect(try proc.read().counters.isEmpty)
    }
}
