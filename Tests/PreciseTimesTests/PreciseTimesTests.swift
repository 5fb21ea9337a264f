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
        first.add(second)
        for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1] {
            let wanted = share * 1_000_000
            let found = Double(try #require(times.quantile(share)))
            #expect(abs(found - wanted) <= wanted * 0.01, "\(share): \(found)")
            #expect(first.quantile(share) == times.quantile(share))
        }
        #expect(times.total == 100_000)
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
