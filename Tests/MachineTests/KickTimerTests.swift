import CLinux
import DebugTarget
import Glibc
import KVMCore
import Testing

@testable import Machine

/// What gets a vCPU out of KVM_RUN at a time.
@Suite struct KickTimerTests {
    /// A thread that sleeps as one in KVM_RUN does: a signal ends each sleep.
    private final class Sleeper: Sendable {
        enum Step: Sendable {
            case set(UInt64?)
            case putOff(UInt64?)
            case rang
            /// Until a signal comes, or so many nanoseconds have passed.
            case sleep(UInt64)
        }

        /// For each sleep, when it ended and whether by a signal.
        static func run(_ steps: @escaping @Sendable (UInt64) -> [Step]) throws -> (
            start: UInt64, ends: [(time: UInt64, isSignal: Bool)]
        ) {
            nonisolated(unsafe) var ends: [(time: UInt64, isSignal: Bool)] = []
            nonisolated(unsafe) var start: UInt64 = 0
            let thread = try KickSignal.startThread {
                guard let timer = try? KickTimer(thread: clinux_thread_id()) else { return }
                start = monotonicTime()
                for step in steps(start) {
                    switch step {
                    case .set(let time): timer.set(time)
                    case .putOff(let time): timer.putOff(to: time)
                    case .rang: timer.rang()
                    case .sleep(let time):
                        var span = timespec(
                            tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
                        let isSignal = nanosleep(&span, nil) != 0
                        ends.append((monotonicTime(), isSignal))
                    }
                }
            }
            pthread_join(thread, nil)
            return (start, ends)
        }
    }

    private static let hour: UInt64 = 3_600_000_000_000
    private static let long: UInt64 = 20_000_000_000

    /// It rings at its time, not before, and again until it is set anew: the first signal may have come too early.
    @Test func ringsUntilItIsSetAnew() throws {
        let time: UInt64 = 3_000_000
        let (start, ends) = try Sleeper.run { start in
            [.set(start + time), .sleep(Self.long), .sleep(Self.long), .rang, .set(nil), .sleep(50_000_000)]
        }
        #expect(ends.map(\.isSignal) == [true, true, false])
        #expect(ends[0].time >= start + time)
    }

    /// A time that is over rings at once.
    @Test func oneThatIsOverRingsAtOnce() throws {
        let (_, ends) = try Sleeper.run { _ in [.set(0), .sleep(Self.long)] }
        #expect(ends.map(\.isSignal) == [true])
    }

    @Test func anEarlierTimeCounts() throws {
        let (_, ends) = try Sleeper.run { start in
            [.set(start + Self.hour), .set(start + 1_000_000), .set(start + Self.hour), .sleep(Self.long)]
        }
        #expect(ends.map(\.isSignal) == [true])
    }

    /// What was put off does not ring, and what is set after it does: as a vCPU sets it that halts and runs.
    @Test(arguments: [nil, hour] as [UInt64?]) func whatWasPutOffDoesNotRing(_ later: UInt64?) throws {
        let (start, ends) = try Sleeper.run { start in
            var steps: [Sleeper.Step] = []
            for _ in 0..<200 {
                steps += [.set(start + 300_000_000), .putOff(later.map { start + $0 })]
            }
            return steps + [.sleep(400_000_000), .set(start + 500_000_000), .sleep(Self.long)]
        }
        #expect(ends.map(\.isSignal) == [false, true])
        #expect(ends[1].time >= start + 500_000_000)
    }
}
