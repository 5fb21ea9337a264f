import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// VMMs that do what none should, or what few do, while they are attached to.
@Suite("Attached to an odd VMM", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct OddVMMLiveTests {
    @Test("one that writes over its kvm_run is stopped where it is, and leaves no tracer behind")
    func scribbles() throws {
        let tiny = try TinyGuest(image: Self.outs, "scribble")
        let tracer: Int32
        do {
            let target = try tiny.attach()
            tracer = target.client.tracerProcess
            let debugger = try Debugger(target: target)
            try debugger.startContinue()
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(try tiny.isTraced(0))
        }
        #expect(Launched.waitForEnd(of: tracer))
        #expect(try !tiny.isTraced(0))
        let before = try tiny.vcpu().returns
        let end = ContinuousClock.now + .paced(10)
        while try tiny.vcpu().returns < before + 100, ContinuousClock.now < end { usleep(1000) }
        #expect(try tiny.vcpu().returns >= before + 100)
        // The next one is not told of another.
        _ = try tiny.attach()
    }

    /// At 0x7C00: `out dx, al` for ever.
    private static let outs: [UInt8] = [
        0xBA, 0x10, 0x00,  //          mov dx, 0x10
        0xEE,  //               next:  out dx, al
        0xEB, 0xFD,  //                jmp next
    ]

    /// `again: inc ax; jmp again`, at 7C00: it never exits by itself.
    static let spinning: [UInt8] = [0x40, 0xEB, 0xFD]

    /// Gives the small VMM its word, and waits until it has acted on it.
    private func poke(_ tiny: TinyGuest) {
        let before = (try? tiny.signals) ?? 0
        kill(tiny.pid, SIGUSR1)
        let end = ContinuousClock.now + .paced(10)
        while (try? tiny.signals) == before, ContinuousClock.now < end { usleep(1000) }
        usleep(100_000)
    }

    private func waitUntilFree(_ tiny: TinyGuest, _ vcpu: Int = 0) throws {
        let end = ContinuousClock.now + .paced(10)
        while try tiny.isTraced(vcpu) {
            guard ContinuousClock.now < end else { throw Failure("vCPU \(vcpu) is still traced") }
            usleep(500)
        }
    }

    private func guestDebug(_ tiny: TinyGuest) throws -> UInt32? {
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        return try KernelReader.shared().guestDebug(of: tiny.pid, vcpu: guest.vcpus[0].descriptor)
    }

    @Test(
        "one that makes a loop of its own `syscall` instruction: calls are made by the kernel's, and all is put back"
    )
    func loop() throws {
        let tiny = try TinyGuest(vcpus: 1, "loop")
        do {
            let (target, debugger) = try tiny.stopped()
            _ = try debugger.setBreakpoint(at: .linear(0x1034))
            _ = try debugger.continueRun()
            poke(tiny)
            _ = try debugger.fpu()
            // Its KVM_RUN is made no more: what it does instead is its own affair, and it is stopped all the same.
            try debugger.startStep(count: 1)
            #expect(try debugger.collectStop(timeout: .milliseconds(200)) == nil)
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            _ = try debugger.fpu()
            try target.detach()
        }
        try waitUntilFree(tiny)
        #expect(try guestDebug(tiny) == 0)
        poke(tiny)
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test(
        "a call that does not come back, as another thread runs the vCPU, is told and given up, and put back later"
    )
    func thief() throws {
        let tiny = try TinyGuest(vcpus: 1, image: Self.spinning, "thief")
        let (_, debugger) = try tiny.stopped()
        poke(tiny)
        let error = #expect(throws: (any Error).self) { try debugger.fpu() }
        #expect("\(try #require(error))".contains("does not come back"), "\(String(describing: error))")
        // Nothing waits for it, and each call says so.
        let again = #expect(throws: (any Error).self) { try debugger.setRegister("bx", to: 7) }
        #expect("\(try #require(again))".contains("does not come back"), "\(String(describing: again))")
        // The main thread lets the vCPU go.
        kill(tiny.pid, SIGUSR1)
        let deadline = ContinuousClock.now + .paced(10)
        while (try? debugger.fpu()) == nil {
            guard ContinuousClock.now < deadline else { throw Failure("it does not come back") }
            usleep(1000)
        }
        #expect(try debugger.step(count: 5).reason == .step(count: 5))
        try debugger.detach()
        try waitUntilFree(tiny)
        #expect(try guestDebug(tiny) == 0)
        try tiny.expectNothingOfOurs()
    }

    @Test(
        "detached while a call does not come back: it is put back when it does, by a tracer that stays for it"
    )
    func detachedWhileAway() throws {
        let tiny = try TinyGuest(vcpus: 1, image: Self.spinning, "thief")
        do {
            let (_, debugger) = try tiny.stopped()
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x9000))
            try debugger.startContinue()
            // INT3 exits by guest debug, too. Of a guest that is stopped and left alone it is off.
            let armed = ContinuousClock.now + .paced(10)
            while try (guestDebug(tiny) != 0) != (breakpoint.mechanism != .portOut) {
                guard ContinuousClock.now < armed else { throw Failure("guest debug does not come on") }
                #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
            }
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            poke(tiny)
            #expect(throws: (any Error).self) { try debugger.fpu() }
            try debugger.detach()
        }
        #expect(try tiny.isTraced(0))
        kill(tiny.pid, SIGUSR1)
        try waitUntilFree(tiny)
        #expect(try guestDebug(tiny) == 0)
        usleep(20_000)
        try tiny.expectNothingOfOurs()
    }

    @Test(
        "left alone while another thread runs the vCPU, so that it cannot be laid to rest: guest debug is as it was, and off in the end"
    )
    func leftAloneWhileAway() throws {
        let tiny = try TinyGuest(vcpus: 1, image: Self.spinning, "thief")
        do {
            let (_, debugger) = try tiny.stopped()
            let breakpoint = try debugger.setBreakpoint(at: .linear(0x9000))
            try debugger.startContinue()
            #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            // The main thread takes the vCPU before the tracer has been idle for long enough, and keeps it for longer than a
            // call may take.
            kill(tiny.pid, SIGUSR1)
            usleep(3_500_000)
            kill(tiny.pid, SIGUSR1)
            let end = ContinuousClock.now + .paced(10)
            while (try? debugger.fpu()) == nil {
                guard ContinuousClock.now < end else { throw Failure("it does not come back") }
                usleep(1000)
            }
            try debugger.startContinue()
            #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
            #expect(try (guestDebug(tiny) != 0) == (breakpoint.mechanism == .debugRegister))
            try debugger.detach()
        }
        try waitUntilFree(tiny)
        #expect(try guestDebug(tiny) == 0)
        try tiny.expectNothingOfOurs()
    }

    private func isTraced(_ process: Int32) throws -> Bool {
        try !String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8).contains("TracerPid:\t0\n")
    }

    @Test(
        "a vCPU's thread that becomes another program: the VMM has ended, and the program is not held",
        arguments: [1, 2])
    func exec(vcpus: Int) throws {
        let tiny = try TinyGuest(vcpus: vcpus, "exec")
        let (_, debugger) = try tiny.stopped()
        try debugger.fillDebugRegisters(places: 5)
        try debugger.startContinue()
        kill(tiny.pid, SIGUSR1)
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(what.contains("runs another program now"))
        _ = try? debugger.detach()
        try expectSleep(tiny)
    }

    /// It is another program, and goes on.
    private func expectSleep(_ tiny: TinyGuest) throws {
        let comm = try String(contentsOfFile: "/proc/\(tiny.pid)/comm", encoding: .utf8)
        #expect(comm == "sleep\n")
        let free = ContinuousClock.now + .paced(10)
        while try isTraced(tiny.pid) {
            guard ContinuousClock.now < free else { throw Failure("it is still traced") }
            usleep(1000)
        }
        // It comes to its sleep, and is not stopped.
        let end = ContinuousClock.now + .paced(10)
        while ProcessFiles(tiny.pid).state() != "S" {
            guard ContinuousClock.now < end else { throw Failure("it does not go on") }
            usleep(1000)
        }
    }

    @Test(
        "a VMM that has not run its vCPUs, and becomes another program while they are awaited or held",
        arguments: [false, true])
    func execUntouched(isHeld: Bool) throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt", "exec")
        let debugger = try Debugger(target: try tiny.attach())
        try debugger.setBreakpoint(at: .linear(0x1002))
        try debugger.startContinue()
        if isHeld {
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        }
        kill(tiny.pid, SIGUSR2)
        if isHeld {
            // It does so when it goes on.
            usleep(50_000)
            try debugger.startContinue()
        }
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(what.contains("runs another program now"))
        _ = try? debugger.detach()
        try expectSleep(tiny)
    }

    @Test(
        "a VMM that is killed while it is held ends, whoever is attached to it", arguments: [[], ["prompt"]])
    func killedWhileHeld(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 2, options.first ?? "-")
        let debugger = try Debugger(target: try tiny.attach())
        try debugger.startContinue()
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        kill(tiny.pid, SIGKILL)
        let end = ContinuousClock.now + .paced(10)
        while tiny.process.isRunning {
            guard ContinuousClock.now < end else { throw Failure("it does not end") }
            usleep(1000)
        }
        let error = #expect(throws: (any Error).self) { try debugger.fpu() }
        #expect("\(try #require(error))".contains("has ended"), "\(String(describing: error))")
        _ = try? debugger.detach()
    }

    @Test("a child that a vCPU's thread makes is not traced, and has none of what is done to its parent")
    func fork() throws {
        let tiny = try TinyGuest(vcpus: 1, "fork")
        let (_, debugger) = try tiny.stopped()
        try debugger.fillDebugRegisters(places: 5)
        try debugger.startStep(count: 100_000_000)
        kill(tiny.pid, SIGUSR1)
        let deadline = ContinuousClock.now + .paced(10)
        while try tiny.vcpu().halts == 0 {
            #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
            guard ContinuousClock.now < deadline else { throw Failure("it makes no child") }
        }
        let child = Int32(try tiny.vcpu().halts)
        defer { kill(child, SIGKILL) }
        #expect(try !isTraced(child))
        #expect(["S", "R"].contains(ProcessFiles(child).state()))
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        try debugger.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("one that uses the registers in `kvm_run` itself gets its own, and none of ours")
    func synchronised() throws {
        let tiny = try TinyGuest(vcpus: 2, "sync")
        for round in 0..<20 {
            let (target, debugger) = try tiny.stopped()
            if round % 2 == 0 { #expect(try debugger.step(count: 20).reason == .step(count: 20)) }
            #expect(try debugger.stop.vcpus.allSatisfy { $0.registers.rsi != 0 } && tiny.vcpu().wrong == 0)
            if round % 3 == 0 { try debugger.startContinue() }
            try target.detach()
            for vcpu in 0..<2 { try tiny.waitForRounds(1, vcpu: vcpu) }
        }
        // Only looked at, nothing is stopped, and all the more nothing may be changed.
        for _ in 0..<20 { try tiny.attach().detach() }
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("a thread that is too deep in the kernel to stop goes on as if it had not been asked to")
    func deep() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt", "vfork")
        let debugger = try Debugger(target: try tiny.attach())
        kill(tiny.pid, SIGUSR2)
        let end = ContinuousClock.now + .paced(5)
        while try !String(contentsOfFile: "/proc/\(tiny.pid)/syscall", encoding: .utf8).hasPrefix("58 ") {
            guard ContinuousClock.now < end else { throw Failure("it does not call vfork") }
            usleep(1000)
        }
        let error = #expect(throws: (any Error).self) { try debugger.fpu() }
        #expect("\(try #require(error))".contains("does not stop within 2 s"), "\(String(describing: error))")
        usleep(3_500_000)
        #expect(try !isTraced(tiny.pid))
        // The main thread has to give the others its word.
        kill(tiny.pid, SIGUSR1)
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
        try debugger.detach()
    }

    /// The guest runs, and comes to a patch in its innermost loop that never stops it.
    private func runOverHotPatch(_ debugger: Debugger) throws {
        try debugger.fillDebugRegisters(places: 4)
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1012))
        #expect(breakpoint.mechanism.isPatch)
        try debugger.setBreakpoint(breakpoint.number, ignore: 1 << 40)
        try debugger.startContinue()
    }

    @Test("a vCPU that is made and run later is taken on at once: it comes to no patch unseen")
    func late() throws {
        let tiny = try TinyGuest(vcpus: 1, "late", "filter")
        let (target, debugger) = try tiny.stopped()
        try runOverHotPatch(debugger)
        func collecting(_ what: String, until isSo: () throws -> Bool) throws {
            let deadline = ContinuousClock.now + .paced(20)
            while try !isSo() {
                guard ContinuousClock.now < deadline else {
                    throw Failure("\(what), does not come: \(try (0..<2).map { try tiny.vcpu($0) })")
                }
                #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
            }
        }
        kill(tiny.pid, SIGUSR2)
        try collecting("that vCPU 1 is taken on") { target.vcpus.count == 2 }
        #expect(try tiny.vcpu(1).returns == 0)
        kill(tiny.pid, SIGUSR1)
        try collecting("its third round") { try tiny.vcpu(1).rounds > 2 }
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(try target.vcpus.map { UInt64($0.thread) } == [tiny.vcpu(0).thread, tiny.vcpu(1).thread])
        try debugger.detach()
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    /// Each question of the tracer can come while a vCPU goes on alone, where a patch is met all the time.
    @Test("a change that is told in the midst of a step over a patch is looked at when the step is done")
    func toldAmidStep() throws {
        let tiny = try TinyGuest(vcpus: 1, "late")
        let (target, debugger) = try tiny.stopped()
        try runOverHotPatch(debugger)
        let deadline = ContinuousClock.now + .paced(20)
        while target.holder == nil {
            guard ContinuousClock.now < deadline else { throw Failure("no step is met") }
            #expect(try debugger.collectStop(timeout: .zero) == nil)
        }
        kill(tiny.pid, SIGUSR2)
        while try tiny.vcpu(1).thread == 0 {
            guard ContinuousClock.now < deadline else { throw Failure("vCPU 1 is not made") }
            usleep(1000)
        }
        try target.lookAround()
        #expect(target.vcpuCount == 1)
        // Nothing but what the vCPU comes to, until its step is done.
        while target.holder != nil {
            guard ContinuousClock.now < deadline else { throw Failure("the step does not end") }
            guard let event = try target.client.nextEvent(timeout: .milliseconds(10)) else { continue }
            target.take(event)
        }
        #expect(target.vcpuCount == 2)
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        try debugger.detach()
        try tiny.expectUnnoticed(vcpu: 0)
    }

    @Test("a filter of system calls that is put on while its threads are traced is lifted for calls, too")
    func hardened() throws {
        let tiny = try TinyGuest(vcpus: 2, "harden")
        let (_, debugger) = try tiny.stopped()
        _ = try debugger.setBreakpoint(at: .linear(0x9000))
        try debugger.startContinue()
        kill(tiny.pid, SIGUSR1)
        let end = ContinuousClock.now + .paced(10)
        while try tiny.vcpu(0).halts == 0 || tiny.vcpu(1).halts == 0 {
            #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
            guard ContinuousClock.now < end else { throw Failure("it puts no filter on") }
        }
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        _ = try debugger.fpu()
        try debugger.detach()
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("a signal to the process, which another thread takes, ends no KVM_RUN of a vCPU that is looked at")
    func elsewhere() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let (_, debugger) = try tiny.stopped()
        // Each exit to the VMM is seen to, there and back.
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1034))
        try debugger.setBreakpoint(breakpoint.number, ignore: 1 << 40)
        try debugger.startContinue()
        for number in 1...Rounds.scaled(300, full: 10_000, atLeast: 20) {
            kill(tiny.pid, SIGUSR1)
            let deadline = ContinuousClock.now + .paced(10)
            while try tiny.signals < number {
                #expect(try debugger.collectStop(timeout: .zero) == nil)
                guard ContinuousClock.now < deadline else { throw Failure("signal \(number) is not taken") }
            }
        }
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        try debugger.detach()
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }
}
