import CLinux
import Debugger
import Dispatch
import Glibc
import KVMCore
import Synchronization
import Testing
import X86

@testable import Machine

/// A vCPU that is lent to the thread that waits for its runs.
@Suite struct LoanTests {
    private func lend(_ loan: VCPULoan) -> Bool {
        let bell = Bell<(any RunController)?>()
        for _ in 0..<64 where loan.borrow(bell.ringer) { return true }
        return false
    }

    @Test func itIsLentAfterSomeOrdersInARow() {
        let loan = VCPULoan()
        let bell = Bell<(any RunController)?>()
        let ringer = bell.ringer
        #expect(!loan.borrow(ringer))
        #expect(lend(loan))
        #expect(loan.borrowingThread == clinux_this_thread() && !loan.isRecalled)
        loan.giveBack()
        #expect(loan.borrowingThread == nil)
        #expect(loan.borrow(ringer), "and at once from then on")
        loan.giveBack()
        loan.endStreak()
        #expect(!loan.borrow(ringer))
        bell.ring()
    }

    /// Where a change of threads was dear, it takes longer.
    @Test func whatIsDearIsDoneSeldom() {
        let loan = VCPULoan()
        let bell = Bell<(any RunController)?>()
        let ringer = bell.ringer
        for _ in 0..<20 { loan.moved(time: 20_000_000) }
        for _ in 0..<16384 { #expect(!loan.borrow(ringer)) }
        #expect(loan.borrow(ringer))
        let cheap = VCPULoan()
        cheap.moved(time: 5000)
        #expect(lend(cheap))
        bell.ring()
    }

    @Test func onlyOneHasIt() {
        let loan = VCPULoan()
        #expect(loan.use())
        #expect(!lend(loan), "a job is being done")
        loan.endUse()
        #expect(lend(loan))
        #expect(!loan.use())
        loan.giveBack()
        #expect(loan.use())
    }

    @Test func itIsRecalledWhenItIsLentForTooLong() {
        let loan = VCPULoan()
        #expect(loan.watch() == nil, "nobody has borrowed it")
        #expect(lend(loan))
        let deadline = loan.watch()
        #expect(deadline != nil)
        #expect(!loan.recall(), "too early")
        while Clock.now() < deadline ?? 0 { usleep(10_000) }
        #expect(loan.recall() && loan.isRecalled)
        #expect(!loan.takeReturned())
        loan.handBack()
        #expect(loan.borrowingThread == nil && loan.takeReturned() && !loan.takeReturned())
        // Given back and lent again meanwhile, it is not lent for long.
        #expect(lend(loan))
        let next = loan.watch()
        loan.giveBack()
        #expect(lend(loan))
        while Clock.now() < next ?? 0 { usleep(10_000) }
        #expect(!loan.recall())
        loan.giveBack()
        while let end = loan.watch() { usleep(UInt32((end &- min(Clock.now(), end)) / 1000)) }
    }
}

@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct LoanLiveTests {
    /// Steps so many instructions, and notes the thread that they are made on.
    private final class Stepper: RunController, @unchecked Sendable {
        // Written and read between runs, or by the thread that runs.
        var left = 0
        var threads: Set<Int32> = []
        var isEndless = false

        func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
            threads.insert(clinux_this_thread())
            try vcpu.setGuestDebug(isEndless ? .off : GuestDebug(control: [.enable, .singleStep]))
            return .resume
        }

        func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
            threads.insert(clinux_this_thread())
            left -= 1
            return left > 0 || isEndless ? .resume : .stop(.step(count: 1))
        }

        func end(_ vcpu: any VCPUAccess) throws(KVMError) { threads.insert(clinux_this_thread()) }
    }

    private func step(_ machine: OwnedMachine, _ stepper: Stepper, _ count: Int = 1) throws -> StopReport? {
        stepper.left = count
        stepper.threads = []
        return try machine.run([RunOrder(vcpu: 0, controller: stepper)])
    }

    private func borrow(_ machine: OwnedMachine, _ stepper: Stepper) throws {
        for _ in 0..<100_000 {
            let report = try #require(try step(machine, stepper))
            #expect(report.reason == .step(count: 1) && report.measured?.exits == 1)
            if stepper.threads == [clinux_this_thread()] { return }
        }
        Issue.record("it was never lent")
    }

    @Test func stepsAreMadeByWhoWaitsForThem() throws {
        // inc ax; jmp to it
        let machine = try machine(code: [0x40, 0xEB, 0xFD])
        let stepper = Stepper()
        #expect(try step(machine, stepper)?.reason == .step(count: 1))
        #expect(stepper.threads == [machine.vcpus[0].thread], "a first one is made by the vCPU's thread")
        try borrow(machine, stepper)
        // Others find the vCPU as always.
        for _ in 0..<100 {
            let before = try machine.withVCPU(0) { try $0.registers() }
            #expect(try step(machine, stepper)?.reason == .step(count: 1))
            #expect(try machine.withVCPU(0) { try $0.registers() } != before)
        }
        // An order of another kind is made by its own thread.
        stepper.left = 5
        stepper.threads = []
        try machine.resume([RunOrder(vcpu: 0, controller: stepper)])
        #expect(machine.waitForStop(timeout: .seconds(20))?.reason == .step(count: 1))
        #expect(stepper.threads == [machine.vcpus[0].thread])
    }

    /// What takes longer goes on in the vCPU's own thread, and whoever waits gets away.
    @Test func aLongRunIsTakenOver() throws {
        let machine = try machine("spin")
        let stepper = Stepper()
        try borrow(machine, stepper)
        stepper.isEndless = true
        #expect(try step(machine, stepper) == nil)
        #expect(machine.isRunning)
        // It takes jobs and is stopped as always.
        #expect(try machine.withVCPU(0) { try $0.registers().rip } > 0)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(20))?.reason == .interrupted)
        #expect(stepper.threads == [clinux_this_thread(), machine.vcpus[0].thread])
        stepper.isEndless = false
        #expect(try step(machine, stepper)?.reason == .step(count: 1))
        // As well many steps of one order.
        try borrow(machine, stepper)
        #expect(try step(machine, stepper, .max) == nil)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(20))?.reason == .interrupted)
    }

    /// Other threads stop a borrowed vCPU, and leave it jobs.
    @Test func aKickReachesTheBorrower() throws {
        let machine = try machine("spin")
        let stepper = Stepper()
        for round in 0..<40 {
            try borrow(machine, stepper)
            stepper.isEndless = true
            let done = DispatchSemaphore(value: 0)
            let pause = UInt32(round) * 100
            let thread = Thread {
                usleep(pause)
                let rip = try? machine.withVCPU(0) { try $0.registers().rip }
                machine.interrupt()
                if rip ?? 0 > 0 { done.signal() }
            }
            let report = try step(machine, stepper) ?? machine.waitForStop(timeout: .seconds(1))
            thread.join()
            stepper.isEndless = false
            #expect(done.wait(timeout: .now() + 20) == .success)
            // Before the run began there was nothing to stop.
            if let report {
                #expect(report.reason == .interrupted)
            } else {
                machine.interrupt()
                #expect(machine.waitForStop(timeout: .seconds(20))?.reason == .interrupted)
            }
        }
    }

    /// A thread of its own, for libdispatch's block all signals.
    private final class Thread {
        private var handle = pthread_t()
        private final class Body {
            let run: @Sendable () -> Void
            init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        }

        init(_ run: @escaping @Sendable () -> Void) {
            let body = Unmanaged.passRetained(Body(run)).toOpaque()
            pthread_create(
                &handle, nil,
                { argument in
                    guard let argument else { return nil }
                    // SAFETY: retained for this thread alone.
                    Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                    return nil
                }, body)
        }

        func join() { pthread_join(handle, nil) }
    }
}
