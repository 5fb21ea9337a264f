import Testing

@testable import PreciseTimes

@Suite struct PreciseTimesTests {
    @Test func quantilesAreRightToAPercent() throws {
        var (times, first, second) = (PreciseTimes(), PreciseTimes(), PreciseTimes())
        #expect(times.quantile(0.5) == nil)
        for number in 1...100_000 as ClosedRange<UInt64> {
            times.record(number * 10)
            if number % 2 == 0 { first.record(number * 10) } else { second.record(number * 10) }
        }
        first.add(second.bins)
        for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1] {
            let wanted = share * 1_000_000
            let found = Double(try #require(times.quantile(share)))
            #expect(abs(found - wanted) <= wanted * 0.01, "\(share): \(found)")
            #expect(first.quantile(share) == times.quantile(share))
        }
        #expect(times.total == 100_000)
        #expect(times.maximum == 1_000_000 && first.maximum == 1_000_000)
        #expect(first.bins == times.bins && times.bins.total == 100_000)
    }

    @Test func binsHaveWhatWasRecordedAndNoMore() {
        var times = PreciseTimes()
        #expect(times.bins.bins.isEmpty)
        for time in [7, 0, 100_003, 7, 100_001] as [UInt64] { times.record(time) }
        // 100,001 and 100,003 are the same to two digits; the longest stays what it is.
        #expect(
            times.bins
                == TimeBins([
                    TimeBins.Bin(time: 0, count: 1), TimeBins.Bin(time: 7, count: 2),
                    TimeBins.Bin(time: 100_003, count: 2),
                ]))
        times.reset()
        #expect(times.total == 0 && times.bins.bins.isEmpty)
        times.record(9)
        #expect(times.quantile(0.5) == 9 && times.maximum == 9)
    }

    @Test func aCountThatIsFullTakesNoMore() {
        var times = PreciseTimes()
        times.add(TimeBins([TimeBins.Bin(time: 5, count: .max)]))
        times.record(6)
        times.add(TimeBins([TimeBins.Bin(time: 5, count: 1)]))
        #expect(times.total == UInt64(UInt32.max) && times.maximum == 5)
    }

    @Test func theSmallestAndTheLargest() {
        var times = PreciseTimes()
        times.record(0)
        #expect(times.quantile(0.5) == 0)
        times.record(.max)
        #expect(times.quantile(1) == UInt64.max / 4)
        #expect(times.quantile(-1) == 0 && times.quantile(2) == UInt64.max / 4)
    }
}
