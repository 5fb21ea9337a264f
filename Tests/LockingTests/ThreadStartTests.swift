import Dispatch
import Glibc
import Locking
import Testing

@Suite struct ThreadStartTests {
    /// What was asked for is blocked in the new thread, and nothing else; the mask of who starts it stays as it was.
    @Test func signalsAreBlockedInTheNewThreadAlone() throws {
        var wanted = sigset_t()
        sigemptyset(&wanted)
        sigaddset(&wanted, SIGUSR2)
        let own = Self.blocked()
        let seen = Lock<[[Int32]]>([])
        for signals in [ThreadStart.allSignals, wanted] {
            let thread = try ThreadStart.begin(blocking: signals) {
                let mask = Self.blocked()
                seen.withLock { $0.append(mask) }
            }
            #expect(pthread_join(thread, nil) == 0)
            #expect(Self.blocked() == own)
        }
        let masks = seen.withLock { $0 }
        #expect(masks[0].contains(SIGINT) && masks[0].contains(SIGWINCH) && masks[0].contains(SIGTERM))
        // These two cannot be blocked.
        #expect(!masks[0].contains(SIGKILL) && !masks[0].contains(SIGSTOP))
        #expect(masks[1] == [SIGUSR2])
    }

    private static func blocked() -> [Int32] {
        var mask = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &mask)
        return (1...64).filter { sigismember(&mask, $0) == 1 }
    }
}
