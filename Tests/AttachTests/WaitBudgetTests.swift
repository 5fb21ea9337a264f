import Testing

@testable import Attach

@Suite("How long something is waited for")
struct WaitBudgetTests {
    /// In nanoseconds.
    private static let millisecond: UInt64 = 1_000_000

    @Test("looks in vain add up to the limit")
    func looks() {
        var budget = WaitBudget(10 * Self.millisecond, now: 0)
        let looks = (1...11).map { budget.isOver(now: UInt64($0) * Self.millisecond) }
        #expect(looks == Array(repeating: false, count: 10) + [true])
        #expect(budget.spent == 11 * Self.millisecond)
    }

    @Test("time in which it was not looked for does not count")
    func starved() {
        var budget = WaitBudget(50 * Self.millisecond, now: 0)
        // Hours lie between them.
        let looks = [1 << 44, 1 << 45, 1 << 46].map { budget.isOver(now: $0) }
        #expect(looks == [false, false, true])
    }
}
