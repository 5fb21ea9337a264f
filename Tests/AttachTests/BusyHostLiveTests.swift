import DebugTarget
import Debugger
import Foundation
import Glibc
import Locking
import Synchronization
import Testing

@testable import Attach

/// However fast or slow steps are, the front end hears of them in time.
struct UntoldTimeTests {
    @Test(arguments: [20_000, 1_000_000, 150_000_000, 3_000_000_000] as [UInt64])
    func stepsAreToldOfInTime(_ each: UInt64) {
        var untold = UntoldTime()
        var (count, told, last, now): (UInt64, Int, UInt64, UInt64) = (0, 0, 1, 1)
        for _ in 0..<30_000 {
            now += each
            if untold.goesOn(after: count, at: now) {
                count += 1
                continue
            }
            // The span begins with the first of them, and ends with the first after it.
            #expect(now - last <= UntoldTime.longest + 2 * each)
            (count, told, last) = (0, told + 1, now)
        }
        #expect(told > 0)
    }
}

/// A guest of another program on a host with much else to do: with `KVMSCOPE_SLOW=1`, as it leaves no processor to others.
@Suite(
    .enabled(
        if: Host.runsKVM && ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] == "1",
        "needs /dev/kvm, and KVMSCOPE_SLOW=1"), .serialized)
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
