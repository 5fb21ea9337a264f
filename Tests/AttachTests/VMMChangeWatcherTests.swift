import Foundation
import Testing

@testable import Attach

@Suite("What a VMM changes while its guest runs with something of ours")
struct VMMChangeWatcherTests {
    private static let millisecond: UInt64 = 1_000_000

    /// Looks every 10 ms, and at once looks around whenever that is told.
    ///
    /// - Returns: when it was, in milliseconds.
    private func tellings(
        _ watcher: inout VMMChangeWatcher, from start: UInt64, to end: UInt64, isPending: Bool = false
    ) -> [UInt64] {
        let ledger = PatchLedger()
        return stride(from: start, to: end, by: 10).filter { time in
            let isTold = watcher.isToTell(ledger, now: time * Self.millisecond)
            if isTold { watcher.noticed(isPending: isPending, now: time * Self.millisecond) }
            return isTold
        }
    }

    private func sleeper() throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sleep")
        process.arguments = ["60"]
        try process.run()
        return process
    }

    @Test func theFirstLookTellsAndThenAChangeAlone() throws {
        let sleeper = try sleeper()
        defer { sleeper.terminate() }
        // /bin/sleep opens files while it starts.
        usleep(300_000)
        var watcher = VMMChangeWatcher(sleeper.processIdentifier, countsDescriptors: true)
        #expect(tellings(&watcher, from: 1000, to: 9000) == [1000])
    }

    @Test func whatIsOnItsWayIsLookedAtAgain() throws {
        let sleeper = try sleeper()
        defer { sleeper.terminate() }
        usleep(300_000)
        var watcher = VMMChangeWatcher(sleeper.processIdentifier, countsDescriptors: true)
        #expect(tellings(&watcher, from: 1000, to: 1200, isPending: true) == [1000, 1050, 1100, 1150])
    }

    /// Kernels before 6.2: a vCPU that is made after its thread changes nothing that is seen.
    @Test func withoutACountOfDescriptorsAChangeIsFollowedForAWhile() throws {
        let sleeper = try sleeper()
        defer { sleeper.terminate() }
        usleep(300_000)
        var watcher = VMMChangeWatcher(sleeper.processIdentifier, countsDescriptors: false)
        let times = tellings(&watcher, from: 1000, to: 9000)
        #expect(times.prefix(3) == [1000, 1050, 1100])
        #expect(times.last == 3000 && times.count == 41)
    }
}
