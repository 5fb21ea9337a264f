import Testing

@testable import Attach

@Suite("How long something is waited for")
struct PatienceTests {
    /// In nanoseconds.
    private static let millisecond: UInt64 = 1_000_000

    @Test("looks in vain add up to the limit")
    func looks() {
        var patience = Patience(10 * Self.millisecond, now: 0)
        let looks = (1...11).map { patience.isOver(now: UInt64($0) * Self.millisecond) }
        #expect(looks == Array(repeating: false, count: 10) + [true])
        #expect(patience.spent == 11 * Self.millisecond)
    }

    @Test("time in which it was not looked for does not count")
    func starved() {
        var patience = Patience(50 * Self.millisecond, now: 0)
        // Hours lie between them.
        let looks = [1 << 44, 1 << 45, 1 << 46].map { patience.isOver(now: $0) }
        #expect(looks == [false, false, true])
    }
}
