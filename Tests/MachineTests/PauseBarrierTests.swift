import Dispatch
import Synchronization
import Testing

@testable import Machine

/// One has the machine for itself, and all others are out.
@Suite struct PauseBarrierTests {
    /// A vCPU's thread that goes in and out, and counts while it is inside.
    private final class Runner: Sendable {
        let pass: PauseBarrier.Pass
        let barrier: PauseBarrier
        let count = Atomic<Int>(0)
        let isKicked = Atomic<Bool>(false)
        let ends = Atomic<Bool>(false)
        let done = DispatchSemaphore(value: 0)

        init(_ barrier: PauseBarrier, _ vcpu: Int) {
            self.barrier = barrier
            pass = barrier.pass(for: vcpu)
        }

        func run() {
            Thread.detach {
                self.barrier.enter(self.pass)
                while !self.ends.load(ordering: .relaxed) {
                    if self.isKicked.exchange(false, ordering: .sequentiallyConsistent) {
                        self.barrier.check(self.pass)
                    }
                    self.count.wrappingAdd(1, ordering: .sequentiallyConsistent)
                }
                self.barrier.leave(self.pass)
                self.done.signal()
            }
        }
    }

    private enum Thread {
        static func detach(_ body: @escaping @Sendable () -> Void) {
            DispatchQueue(label: "a vCPU's thread").async(execute: body)
        }
    }

    @Test func whoHoldsIsAlone() {
        let barrier = PauseBarrier()
        let runners = (0..<2).map { Runner(barrier, $0) }
        for runner in runners { runner.run() }
        for _ in 0..<50 {
            barrier.hold(PauseBarrier.debugger) { ids in
                for id in ids { runners[id].isKicked.store(true, ordering: .sequentiallyConsistent) }
            }
            let before = runners.map { $0.count.load(ordering: .sequentiallyConsistent) }
            for _ in 0..<1000 {
                let now = runners.map { $0.count.load(ordering: .sequentiallyConsistent) }
                if now != before { Issue.record("one ran while the machine was held") }
            }
            barrier.release(PauseBarrier.debugger)
        }
        for runner in runners { runner.ends.store(true, ordering: .relaxed) }
        for runner in runners { #expect(runner.done.wait(timeout: .now() + 20) == .success) }
    }

    @Test func aVCPUThatHoldsIsItselfInside() {
        let barrier = PauseBarrier()
        let own = barrier.pass(for: 3)
        barrier.enter(own)
        var kicked: Set<Int> = []
        barrier.hold(3) { kicked = $0 }
        #expect(kicked.isEmpty, "nobody else was inside")
        // It goes on, and another waits at the door.
        barrier.check(own)
        let other = Runner(barrier, 4)
        other.run()
        #expect(other.done.wait(timeout: .now() + .milliseconds(20)) == .timedOut)
        #expect(other.count.load(ordering: .sequentiallyConsistent) == 0)
        // Someone who does not hold cannot release.
        barrier.release(PauseBarrier.debugger)
        #expect(other.count.load(ordering: .sequentiallyConsistent) == 0)
        other.ends.store(true, ordering: .relaxed)
        barrier.release(3)
        #expect(other.done.wait(timeout: .now() + 20) == .success)
        barrier.leave(own)
    }

    @Test func passesAreOnePerVCPU() {
        let barrier = PauseBarrier()
        #expect(barrier.pass(for: 1) === barrier.pass(for: 1))
        #expect(barrier.pass(for: 1) !== barrier.pass(for: 2))
    }
}
