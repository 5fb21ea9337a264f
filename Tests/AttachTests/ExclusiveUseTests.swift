import Foundation
import Locking
import Testing

@testable import Attach

@Suite struct ExclusiveUseTests {
    @Test("one thread may enter again; another one may not before all was left")
    func threads() {
        let use = ExclusiveUse()
        func othersMay() -> Bool {
            let may = Lock(false)
            let done = DispatchSemaphore(value: 0)
            withExtendedLifetime(done) {
                let thread = Thread {
                    let entered = use.tryToEnter()
                    if entered { use.leave() }
                    may.withLock { $0 = entered }
                    done.signal()
                }
                thread.start()
                done.wait()
            }
            return may.withLock { $0 }
        }
        #expect(othersMay())
        #expect(use.tryToEnter() && use.tryToEnter())
        #expect(!othersMay())
        use.leave()
        #expect(!othersMay())
        use.leave()
        #expect(othersMay())
    }
}
