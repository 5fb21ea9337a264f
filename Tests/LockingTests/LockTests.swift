import Dispatch
import Locking
import Testing

@Suite struct LockTests {
    /// In any build: no increment is lost, and what a body throws comes out with the lock released.
    @Test func oneAtATime() {
        struct Failure: Error {}
        final class Shared: Sendable { let count = Lock(0) }
        let shared = Shared()
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<10_000 {
                shared.count.withLock { $0 += 1 }
                try? shared.count.withLock { (count) throws(Failure) in
                    count += 1
                    throw Failure()
                }
            }
        }
        #expect(shared.count.withLock { $0 } == 160_000)
    }
}
