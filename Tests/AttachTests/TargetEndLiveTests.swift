import DebugTarget
import Debugger
import Glibc
import TargetConformance
import Testing

@testable import Attach

/// An attached guest that nobody debugs any more leaves nothing in this process.
@Suite(.serialized, .enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct TargetEndLiveTests {
    @Test func oneThatWasDebuggedIsGone() throws {
        let tiny = try TinyGuest(vcpus: 1)
        weak var target: AttachedTarget?
        weak var debugger: Debugger?
        try {
            let attached = try tiny.attach()
            target = attached
            let debugging = try Debugger(target: attached)
            debugger = debugging
            try debugging.startContinue()
            debugging.interrupt()
            #expect(try debugging.collectStop(timeout: .seconds(20))?.reason == .interrupted)
            try debugging.step()
            try attached.detach()
        }()
        #expect(debugger == nil)
        // The thread that watches the tracer may be about to end.
        let end = ContinuousClock.now + .paced(20)
        while target != nil, ContinuousClock.now < end { usleep(1000) }
        #expect(target == nil)
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }
}
