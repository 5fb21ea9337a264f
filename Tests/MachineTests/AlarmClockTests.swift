import Glibc
import KVMCore
import Synchronization
import Testing

@testable import Machine

/// The thread that gets a vCPU out of KVM_RUN.
@Suite struct AlarmClockTests {
    /// What rang, and when.
    private final class Bell: Sendable {
        let rings = Atomic<Int>(0)
        let last = Atomic<UInt64>(0)
        let changes = EventCount<Never>()

        func ring() {
            last.store(monotonicTime(), ordering: .sequentiallyConsistent)
            rings.wrappingAdd(1, ordering: .sequentiallyConsistent)
            changes.signal()
        }

        var count: Int { rings.load(ordering: .sequentiallyConsistent) }

        /// - Returns: false after 20 s.
        func waitForRing(_ number: Int) -> Bool {
            let end = monotonicTime() + 20_000_000_000
            while true {
                let token = changes.token
                if count >= number { return true }
                if monotonicTime() >= end { return false }
                changes.wait(since: token, until: end, spins: false)
            }
        }
    }

    private let bell = Bell()
    private let clock: AlarmClock

    init() throws {
        clock = AlarmClock { [bell] in bell.ring() }
        try clock.start()
    }

    @Test func ringsOnceForATime() {
        defer { clock.end() }
        for number in 1...5 {
            let time = monotonicTime() + 3_000_000
            clock.set(time)
            #expect(bell.waitForRing(number))
            #expect(bell.last.load(ordering: .sequentiallyConsistent) >= time)
        }
        // One that is over rings at once, and again only for another.
        clock.set(0)
        #expect(bell.waitForRing(6))
        clock.set(monotonicTime() + 1_000_000)
        #expect(bell.waitForRing(7) && bell.count == 7)
    }

    /// An earlier time is rung at, though the thread sleeps for a later one.
    @Test func anEarlierTimeCounts() {
        defer { clock.end() }
        clock.set(monotonicTime() + 3_600_000_000_000)
        usleep(20_000)
        clock.set(monotonicTime() + 1_000_000)
        #expect(bell.waitForRing(1))
    }

    /// What was put off or taken back does not ring, and what comes after it does: as a vCPU sets it that halts and runs.
    @Test(arguments: [nil, 3_600_000_000_000] as [UInt64?]) func whatWasPutOffDoesNotRing(_ later: UInt64?) {
        defer { clock.end() }
        for _ in 0..<200 {
            clock.set(monotonicTime() + 1_000_000_000)
            clock.set(later.map { monotonicTime() + $0 })
        }
        // Past the times that were taken back, an earlier one than the last still comes.
        let time = monotonicTime() + 1_200_000_000
        clock.set(time)
        #expect(bell.waitForRing(1))
        #expect(bell.last.load(ordering: .sequentiallyConsistent) >= time && bell.count == 1)
    }

    /// Its end is not waited for until the time that it sleeps for.
    @Test func endsWhileItSleeps() {
        clock.set(monotonicTime() + 3_600_000_000_000)
        usleep(5_000)
        clock.end()
        #expect(bell.count == 0)
    }
}
