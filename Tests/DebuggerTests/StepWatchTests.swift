import DebugTarget
import Testing

@testable import Debugger

/// When a step is looked at: it has gone on for long, and not for want of a processor.
struct StepWatchTests {
    private static let second: UInt64 = 1_000_000_000

    /// Looks at whole seconds, from the first on.
    private func looks(_ exits: [UInt64], _ times: [ProcessorTime?]) -> [Bool] {
        var watch = StepWatch(exits: exits[0], times[0], now: Self.second)
        return exits.indices.dropFirst().map { index in
            watch.isDue(exits[index], times[index], now: UInt64(index + 1) * Self.second)
        }
    }

    @Test func exitsAreProgress() {
        #expect(looks([1, 2, 3, 3, 4], [nil, nil, nil, nil, nil]) == [false, false, true, false])
    }

    @Test func oneThatRunsIsLookedAt() {
        let times = (0..<4).map { ProcessorTime(used: UInt64($0) * Self.second / 2, isReady: true) }
        #expect(looks([7, 7, 7, 7], times) == [true, true, true])
    }

    @Test func oneThatWaitsForAProcessorIsNot() {
        let waits = (0..<4).map { ProcessorTime(used: UInt64($0) * Self.second / 20, isReady: true) }
        #expect(looks([7, 7, 7, 7], waits) == [false, false, false])
        // It gets one at last, and nothing comes of it.
        let had = ProcessorTime(used: Self.second, isReady: true)
        #expect(looks([7, 7, 7], [waits[0], waits[1], had]) == [false, true])
    }

    @Test func oneThatSleepsIsLookedAt() {
        let asleep = ProcessorTime(used: 5, isReady: false)
        #expect(looks([7, 7, 7], [asleep, asleep, asleep]) == [true, true])
    }
}
