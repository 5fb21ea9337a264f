import DebugTarget
import Glibc
import KVMCore
import Synchronization
import Testing

@testable import Machine

/// A wait that is not ended hangs: the time limit makes that a failure.
@Suite(.timeLimit(.minutes(1)))
struct EventCountTests {
    @Test func deadlineEndsTheWait() {
        let events = EventCount<Never>()
        let token = events.token
        events.wait(since: token, until: monotonicTime() + 2_000_000)
        #expect(events.token == token)
    }

    @Test func signalBeforeTheWaitIsNotLost() {
        let events = EventCount<Never>()
        let token = events.token
        events.signal()
        events.wait(since: token)
        #expect(events.token != token)
    }

    /// Two threads hand a number to and fro; a lost signal would hang.
    @Test func pingPong() {
        final class Shared: Sendable {
            let events = EventCount<Never>()
            let turn = Atomic<Int>(0)
            func play(_ parity: Int, rounds: Int) {
                for round in 0..<rounds where round % 2 == parity {
                    while true {
                        let token = events.token
                        if turn.load(ordering: .acquiring) == round { break }
                        events.wait(since: token)
                    }
                    // Sometimes longer than the other spins, so that it sleeps.
                    if round % 50 < 2 { usleep(100) }
                    turn.store(round + 1, ordering: .releasing)
                    events.signal()
                }
            }
        }
        let shared = Shared()
        let rounds = 4000
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(shared).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                // SAFETY: retained for this thread alone.
                Unmanaged<Shared>.fromOpaque(argument).takeRetainedValue().play(1, rounds: 4000)
                return nil
            }, argument)
        #expect(result == 0)
        shared.play(0, rounds: rounds)
        pthread_join(thread, nil)
        #expect(shared.turn.load(ordering: .acquiring) == rounds)
    }

    @Test func durationsAreClamped() {
        #expect(Duration.zero.wholeNanoseconds == 0)
        #expect(Duration.milliseconds(3).wholeNanoseconds == 3_000_000)
        #expect((Duration.zero - .seconds(1)).wholeNanoseconds == 0)
        #expect(Duration.seconds(Int64.max / 2).wholeNanoseconds == .max)
    }
}
