import CLinux
import Foundation
import Glibc
import Host
import TargetConformance
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

/// A thread that is ready and is not run is waited for, within a bound; one that runs or sleeps is not.
@Suite struct ReadyThreadTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func oneThatIsKeptFromProcessorsIsWaitedFor() {
        var ready = ReadyThread(process: 1, thread: 1)
        let had = [5, 5, 5 + Self.second / 11]
        let looks = had.enumerated().map { ready.isKept(onCPU: $1, now: UInt64($0 + 1) * Self.second) }
        #expect(looks == [true, true, true])
    }

    @Test func oneThatRunsIsNot() {
        var ready = ReadyThread(process: 1, thread: 1)
        let had = [0, Self.second / 9]
        let looks = had.enumerated().map { ready.isKept(onCPU: $1, now: UInt64($0 + 1) * Self.second) }
        #expect(looks == [true, false])
    }

    @Test func thereIsABound() {
        var ready = ReadyThread(process: 1, thread: 1)
        let looks = (0..<200).map { ready.isKept(onCPU: 0, now: $0 * Self.second / 5) }
        #expect(looks.prefix(100).allSatisfy { $0 })
        #expect(looks.suffix(100).allSatisfy { !$0 })
    }

    /// This one is on a processor, and a child that sleeps is not ready.
    @Test func realThreadsAreTold() throws {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/sleep")
        child.arguments = ["60"]
        try child.run()
        defer { child.terminate() }
        // On its way there it is ready and asleep in turn.
        let files = ProcessFiles(child.processIdentifier)
        let end = ContinuousClock.now + .paced(20)
        while files.text("syscall")?.hasPrefix("230 ") != true, ContinuousClock.now < end { usleep(1000) }
        var asleep = ReadyThread(process: child.processIdentifier, thread: child.processIdentifier)
        // What is counted before it is that of the way.
        _ = asleep.waitsForProcessor()
        usleep(10_000)
        let isReady = asleep.waitsForProcessor()
        #expect(!isReady)
        var own = ReadyThread(process: getpid(), thread: clinux_thread_id())
        let runs = own.waitsForProcessor()
        #expect(runs)
    }
}
