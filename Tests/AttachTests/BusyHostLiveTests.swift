import Attach
import DebugTarget
import Debugger
import Glibc
import Locking
import Synchronization
import Testing

/// A guest of another program on a host with much else to do.
@Suite(.enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct BusyHostLiveTests {
    /// Threads that leave no processor alone, until this is gone.
    private final class Load {
        private let isOver = OverFlag()
        private var threads: [pthread_t] = []

        private final class OverFlag: Sendable {
            let value = Atomic<Bool>(false)
        }

        init(threads count: Int) throws {
            for _ in 0..<count {
                threads.append(
                    try ThreadStart.begin { [isOver] in
                        while !isOver.value.load(ordering: .relaxed) {}
                    })
            }
        }

        deinit {
            isOver.value.store(true, ordering: .relaxed)
            for thread in threads { pthread_join(thread, nil) }
        }
    }

    /// Each step waits for a processor twice. Steps that are made without the front end get on, and are not taken for lost,
    /// however long they take together.
    @Test func stepsThatAreSlowAreNotLost() throws {
        let tiny = try TinyGuest(vcpus: 1)
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(20))?.reason == .interrupted)
        do {
            let load = try Load(threads: 3 * Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
            // The last in the queue for a processor.
            let thread = try #require(id_t(exactly: tiny.vcpu().thread))
            #expect(setpriority(__priority_which_t(PRIO_PROCESS.rawValue), thread, 19) == 0)
            let stop = try debugger.step(count: 150)
            #expect(stop.reason == .step(count: 150))
            #expect(stop.steps == 150)
            withExtendedLifetime(load) {}
        }
        try target.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }
}
