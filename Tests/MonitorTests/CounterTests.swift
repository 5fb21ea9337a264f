import RecordedHosts
import Testing

@testable import Monitor

@Suite struct CounterTests {
    /// Against a plain list of 64 counts.
    @Test(arguments: 0..<20 as Range<UInt64>) func histogramsAreListsOfCounts(_ seed: UInt64) throws {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
        func next(_ bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        var (sums, plain) = (Histogram(), [UInt64](repeating: 0, count: Histogram.bucketCount))
        for _ in 0..<20 {
            let before = sums
            var (part, list) = (Histogram(), [UInt64](repeating: 0, count: Histogram.bucketCount))
            for _ in 0..<next(12) {
                let bucket = Int(next(64))
                part.record(Histogram.range(of: bucket).upperBound)
                list[bucket] += 1
            }
            sums.add(part)
            for bucket in list.indices { plain[bucket] += list[bucket] }
            #expect((0..<Histogram.bucketCount).map { sums[$0] } == plain)
            #expect(sums.total == plain.reduce(0, +))
            #expect(sums.filled.map(\.bucket) == plain.indices.filter { plain[$0] != 0 })
            let since = try #require(sums.since(before))
            #expect(since.difference == part)
            #expect(part.total == 0 || since.longest == list.lastIndex { $0 != 0 })
            #expect(part.total == 0 || before.since(sums) == nil)
            let bytes = plain.withUnsafeBytes { Histogram($0) }
            #expect(bytes == sums)
        }
    }

    @Test func bucketsArePowersOfTwo() {
        #expect(
            [0, 1, 2, 3, 4, 1023, 1024, .max].map { Histogram.bucket(of: $0) } == [0, 0, 1, 1, 2, 9, 10, 63])
        for bucket in 0..<64 {
            let range = Histogram.range(of: bucket)
            #expect(Histogram.bucket(of: range.lowerBound) == bucket)
            #expect(Histogram.bucket(of: range.upperBound) == bucket)
        }
    }

    @Test func quantilesAreWithinTheirBucket() {
        var histogram = Histogram()
        #expect(histogram.quantile(0.5) == nil)
        for time in 1...1000 as ClosedRange<UInt64> { histogram.record(time) }
        #expect(histogram.total == 1000)
        for share in [0.01, 0.5, 0.9, 0.99, 1] {
            let exact = UInt64((share * 1000).rounded(.up))
            #expect(Histogram.bucket(of: histogram.quantile(share) ?? 0) == Histogram.bucket(of: exact))
        }
    }

    @Test func quantilesOfTheLongestTimesDoNotOverflow() {
        var histogram = Histogram()
        histogram[63] = .max
        #expect(histogram.quantile(1) == .max)
        #expect(histogram.quantile(0.5) ?? 0 >= 1 << 63)
        histogram[62] = .max
        #expect(histogram.quantile(0.5) ?? 0 >= 1 << 62)
    }

    @Test func anIntervalIsADifference() throws {
        var earlier = Counter()
        for time in [100, 5000] as [UInt64] {
            earlier.count += 1
            earlier.record(time)
        }
        var later = earlier
        later.count += 2
        later.record(300)
        let interval = try #require(later.since(earlier))
        #expect(interval.count == 2)
        #expect(interval.time == 300)
        #expect(interval.mean == 300)
        // The longest is not the 5,000 of before; it is known to its bucket, and no more than the sum.
        #expect(interval.maximum == 300)
        later.record(70_000)
        #expect(try #require(later.since(earlier)).maximum == 70_000)
        #expect(earlier.since(later) == nil)
    }

    @Test func handlingIsFromAnExitToTheNextEntry() throws {
        let records = Records(.v61)
        var accountant = ExitAccountant()
        let hlt: [String: Int64] = ["exit_reason": 12, "isa": 1, "guest_rip": 0x1000]
        accountant.account(try records.event("kvm_exit", hlt, at: 1000))
        // Another thread in between changes nothing.
        accountant.account(try records.event("kvm_exit", ["exit_reason": 30, "isa": 1], at: 1500, thread: 8))
        accountant.account(try records.event("kvm_entry", at: 9000))
        accountant.account(try records.event("kvm_exit", hlt, at: 9500))
        let counter = try #require(accountant.counters[CounterKey(7, .hardwareExit, 1 << 32 | 12)])
        #expect(counter.count == 2)
        #expect(counter.time == 8000)
        #expect(counter.histogram.total == 1)
        #expect(
            accountant.counters[
                CounterKey(
                    thread: 7, tag: CounterKind.instructionPointer.rawValue | 12 << 8, code: 0x1000)]?.count
                == 2)
        // The guest ends in the middle of an exit and its thread's number comes again.
        accountant.account(try records.event("kvm_exit", hlt, at: 20_000))
        #expect(accountant.losses.unpaired == 1)
        #expect(accountant.counters[CounterKey(7, .hardwareExit, 1 << 32 | 12)]?.time == 8000)
    }

    @Test func aReturnToUserspaceIsTimedToTheNextEntry() throws {
        let records = Records(.v61)
        var accountant = ExitAccountant()
        accountant.account(try records.event("kvm_exit", ["exit_reason": 30, "isa": 1], at: 100))
        accountant.account(try records.event("kvm_pio", ["rw": 1, "port": 0x80], at: 150))
        accountant.account(try records.event("kvm_userspace_exit", ["reason": 2], at: 200))
        accountant.account(try records.event("kvm_entry", at: 1200))
        #expect(accountant.counters[CounterKey(7, .userspaceExit, 2)]?.time == 1000)
        #expect(accountant.counters[CounterKey(7, .hardwareExit, 1 << 32 | 30)]?.time == 1100)
        // Where kvm_exit fires, emulation is not timed apart.
        accountant.account(try records.event("kvm_userspace_exit", ["reason": 2], at: 1300))
        #expect(accountant.counters[CounterKey(7, .emulation, 2)] == nil)
        #expect(accountant.lastExits == [7: 2])
    }

    @Test func emulationIsTimedWhereNoExitFires() throws {
        let records = Records(.v618)
        var accountant = ExitAccountant()
        func pio(_ rw: Int64, at time: UInt64) throws {
            accountant.account(try records.event("kvm_pio", ["rw": rw, "port": 0x80], at: time))
        }
        func back(_ reason: Int64, _ errno: Int64 = 0, at time: UInt64) throws {
            accountant.account(
                try records.event("kvm_userspace_exit", ["reason": reason, "errno": errno], at: time))
        }
        let key = CounterKey(7, .emulation, 2)
        try pio(1, at: 100)
        try back(2, at: 150)
        #expect(accountant.counters[key] == nil)
        // An OUT to a device of the kernel's, and then an IN: its kvm_pio comes after the return. It had no beginning.
        try pio(1, at: 1000)
        try back(2, at: 5000)
        #expect(accountant.counters[key]?.time == 50)
        try pio(0, at: 6000)
        // A signal.
        try pio(1, at: 7000)
        try back(10, -4, at: 9000)
        try back(10, -4, at: 9500)
        #expect(accountant.counters[key]?.count == 1)
        #expect(accountant.counters[key]?.time == 50)
        #expect(accountant.counters[CounterKey(7, .port, CounterKey.write | 0x80)]?.count == 3)
        #expect(accountant.counters[CounterKey(7, .userspaceExit, CounterKey.failedRun | 4)]?.count == 2)
    }

    @Test func fullTablesAndLostRecordsAreCounted() throws {
        let records = Records(.v618)
        var accountant = ExitAccountant(maximumKeys: 2)
        for vector in 0..<5 as Range<Int64> {
            accountant.account(try records.event("kvm_inj_virq", ["vector": vector]))
        }
        #expect(accountant.counters.count == 2)
        #expect(accountant.losses.unkept == 3)
        accountant.forget([7])
        #expect(accountant.counters.isEmpty)
        accountant.account(try records.event("kvm_exit", ["exit_reason": 1, "isa": 1], at: 10))
        accountant.lost(4)
        // The entry may be the one that was lost: nothing is timed by a later one.
        accountant.account(try records.event("kvm_entry", at: 1_000_000))
        #expect(accountant.losses.records == 4)
        #expect(accountant.counters[CounterKey(7, .hardwareExit, 1 << 32 | 1)]?.time == 0)
    }
}

@Suite struct OpenExitTests {
    private static let halt = CounterKey(7, .userspaceExit, 5)
    private static let io = CounterKey(7, .userspaceExit, 2)
    private static let port = CounterKey(7, .port, 5)

    /// What is given where the counters are these and those exits are open.
    private func given(
        _ exits: inout OpenExits, _ counts: [CounterKey: UInt64], open: [CounterKey]
    ) -> [CounterKey: UInt64] {
        var counters = counts.map { (key: $0.key, counter: Counter(count: $0.value)) }
        exits.add(open, to: &counters)
        return Dictionary(uniqueKeysWithValues: counters.map { ($0.key, $0.counter.count) })
    }

    @Test func anOpenExitIsCountedOnce() {
        var exits = OpenExits()
        let halts = [Self.halt]
        #expect(given(&exits, [:], open: halts) == [Self.halt: 1])
        #expect(given(&exits, [:], open: halts) == [Self.halt: 1])
        #expect(given(&exits, [Self.halt: 1, Self.port: 9], open: []) == [Self.halt: 1, Self.port: 9])
        #expect(given(&exits, [Self.halt: 1], open: halts) == [Self.halt: 2])
        #expect(given(&exits, [Self.halt: 2, Self.io: 3], open: [Self.io]) == [Self.halt: 2, Self.io: 4])
    }

    /// The guest is entered after its counter was read and before its state is.
    @Test func noCountGoesBack() {
        var exits = OpenExits()
        #expect(given(&exits, [Self.halt: 4], open: [Self.halt]) == [Self.halt: 5])
        #expect(given(&exits, [Self.halt: 4], open: []) == [Self.halt: 5])
        #expect(given(&exits, [Self.halt: 4], open: [Self.io]) == [Self.halt: 5, Self.io: 1])
        #expect(given(&exits, [Self.halt: 5], open: []) == [Self.halt: 5, Self.io: 1])
        #expect(given(&exits, [Self.halt: 6, Self.io: 1], open: []) == [Self.halt: 6, Self.io: 1])
    }

    @Test func whatIsForgottenHasNoLeastCount() {
        var exits = OpenExits()
        #expect(given(&exits, [Self.halt: 4], open: [Self.halt]) == [Self.halt: 5])
        exits.forget([7])
        #expect(given(&exits, [Self.halt: 1], open: []) == [Self.halt: 1])
    }
}
