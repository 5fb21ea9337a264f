import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// The tracer killed under the front end's hands: another one puts back what it has left.
@Suite("A tracer that is killed", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct KilledTracerLiveTests {
    /// What of the VMM is to be as it was: code with room for patches after it, and the shared pages' kvm_valid_regs.
    private struct Leavings: Equatable {
        /// Blocked, ignored and caught ones of the vCPUs' threads, as /proc has them.
        var signals: [[Substring]]
        var code: [UInt8]
        var validRegisters: [UInt64?]
        var guestDebug: [UInt32?]

        init(_ tiny: TinyGuest) throws {
            let hva = try tiny.slots()[0][2]
            code = (0..<0x10).flatMap { word in
                AttachedVCPU.word(tiny.pid, hva + 0x1000 + UInt64(word) * 8, 8).map {
                    withUnsafeBytes(of: $0, Array.init)
                } ?? []
            }
            let guest = try #require(GuestFinder().guest(process: tiny.pid))
            let maps = try #require(ProcessFiles(tiny.pid).text("maps").map(AddressMap.init))
            signals = try guest.vcpus.map { vcpu in
                let status = try String(
                    contentsOfFile: "/proc/\(tiny.pid)/task/\(vcpu.thread ?? 0)/status", encoding: .utf8)
                return status.split(separator: "\n").filter {
                    ["SigBlk", "SigIgn", "SigCgt"].contains($0.prefix(6))
                }
            }
            validRegisters = guest.vcpus.map { vcpu in
                maps.runArea(ofVCPU: vcpu.id).flatMap {
                    AttachedVCPU.word(tiny.pid, $0.start + UInt64(RunLayout.validRegisters), 8)
                }
            }
            guestDebug = try guest.vcpus.map {
                try KernelReader.shared().guestDebug(of: tiny.pid, vcpu: $0.descriptor)
            }
        }
    }

    /// At code that the guest never comes to: three in debug registers, where those fire, then patches.
    /// - Returns: how many bytes the patches have.
    @discardableResult
    private func setBreakpoints(_ debugger: Debugger) throws -> Int {
        for place: UInt64 in [0x1050, 0x1052, 0x1054, 0x1056, 0x1058] {
            try debugger.setBreakpoint(at: .linear(place))
        }
        let patches = debugger.breakpoints.filter(\.mechanism.isPatch)
        #expect(patches.count == 5 - Host.registerBreakpoints)
        return patches.reduce(0) { $0 + ($1.mechanism == .int3 ? 1 : 2) }
    }

    private func killTracer(_ target: AttachedTarget) { kill(target.client.tracerProcess, SIGKILL) }

    /// With nobody who asks for it.
    private func expectPutBack(_ target: AttachedTarget, _ tiny: TinyGuest, _ before: Leavings) throws {
        let end = ContinuousClock.now + .paced(10)
        while !target.client.isLost {
            guard ContinuousClock.now < end else { throw Failure("the tracer's end is not noticed") }
            usleep(1000)
        }
        #expect(try Leavings(tiny) == before)
    }

    private func expectGoesOn(_ tiny: TinyGuest) throws {
        for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
        #expect(GuestFinder().guest(process: tiny.pid)?.obstacle == nil)
        // The next debugger finds nothing of the last.
        let (target, debugger) = try tiny.stopped()
        _ = try debugger.step()
        try target.detach()
        for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
    }

    @Test(
        "while the guest runs among breakpoints: all is put back, and the VMM has seen one EINTR at most",
        arguments: [[], ["filter", "kick"]])
    func running(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 2, options.first ?? "-", options.last ?? "-")
        let before = try Leavings(tiny)
        let (target, debugger) = try tiny.stopped()
        let patched = try setBreakpoints(debugger)
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        #expect(try Leavings(tiny) != before)
        killTracer(target)
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(
            what.contains("put back kvm_run of 2 vCPUs, \(patched) patched bytes"), "\(what)")
        #expect(try Leavings(tiny) == before)
        // Nobody knows what they do now.
        #expect(stop.vcpus.map(\.activity) == [.unreachable, .unreachable])
        for vcpu in 0..<2 { try expectHardlyNoticed(tiny, vcpu) }
        try expectGoesOn(tiny)
    }

    /// A thread that stood in a stop at KVM_RUN's entry when its tracer was killed: the kernel wakes it as a signal does,
    /// and KVM_RUN returns once, for nothing.
    private func expectHardlyNoticed(_ tiny: TinyGuest, _ vcpu: Int) throws {
        let log = try tiny.vcpu(vcpu)
        #expect(log.debug == 0 && log.other == 0 && log.wrong == 0 && log.unexplained <= 1, "\(log)")
    }

    @Test("one that is asked to end (SIGTERM) puts everything back by itself first")
    func terminated() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let before = try Leavings(tiny)
        let (target, debugger) = try tiny.stopped()
        try setBreakpoints(debugger)
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        #expect(try Leavings(tiny) != before)
        kill(target.client.tracerProcess, SIGTERM)
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
        // What another one finds is as it was.
        #expect(what.contains("put back kvm_run of 2 vCPUs"), "\(what)")
        #expect(try Leavings(tiny) == before)
        for vcpu in 0..<2 { try tiny.expectUnnoticed(vcpu: vcpu) }
        try expectGoesOn(tiny)
    }

    @Test("while the guest is only looked at, and nobody waits")
    func passive() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let before = try Leavings(tiny)
        let target = try tiny.attach()
        #expect(try Leavings(tiny) != before)
        killTracer(target)
        try expectPutBack(target, tiny, before)
        for vcpu in 0..<2 { try tiny.expectUnnoticed(vcpu: vcpu) }
        try expectGoesOn(tiny)
    }

    /// Until the tracer has laid it to rest, which it does after 0.2 s, with guest debug off first of all.
    private func leaveAlone(_ tiny: TinyGuest) throws {
        let end = ContinuousClock.now + .paced(20)
        while try Leavings(tiny).guestDebug.contains(where: { $0 != 0 }) {
            guard ContinuousClock.now < end else { throw Failure("it is not made ready") }
            usleep(10_000)
        }
        usleep(300_000)
    }

    @Test(
        "while the guest is held and left alone: it goes on with nothing left in it, and the VMM has noticed nothing",
        arguments: [[], ["filter", "kick"]])
    func held(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 2, options.first ?? "-", options.last ?? "-")
        let before = try Leavings(tiny)
        let (target, debugger) = try tiny.stopped()
        try setBreakpoints(debugger)
        // After it, guest debug and the thread's own single-step mode are on.
        _ = try debugger.step(count: 3)
        try leaveAlone(tiny)
        killTracer(target)
        try expectPutBack(target, tiny, before)
        for vcpu in 0..<2 { try tiny.expectUnnoticed(vcpu: vcpu) }
        if let stop = try? debugger.step() {
            #expect("\(stop.reason)".contains("put back"), "\(stop.reason)")
        }
        try expectGoesOn(tiny)
    }

    @Test("left alone and taken up again, over and over: it goes on as if it had not been")
    func rest() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter", "kick")
        let before = try Leavings(tiny)
        let (target, debugger) = try tiny.stopped()
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1034))
        for round in 0..<Rounds.scaled(3, full: 20, atLeast: 3) {
            let here = try #require(debugger.stop[debugger.stop.vcpu]?.registers)
            try leaveAlone(tiny)
            switch round % 4 {
            case 0: _ = try debugger.fpu()
            case 1:
                let stop = try debugger.continueRun()
                #expect(stop.reason == .breakpoint([breakpoint.number]), "\(stop.reason)")
                continue
            default: break
            }
            let stop = try debugger.step(count: 2)
            // The place of the breakpoint may be the first of the two.
            #expect(
                stop.reason == .step(count: 2) || stop.reason == .breakpoint([breakpoint.number]),
                "\(stop.reason)")
            #expect(stop[stop.vcpu]?.registers.rip != here.rip)
        }
        try leaveAlone(tiny)
        let detachment = try target.detach()
        // Where no debug register fires, the breakpoint is a patch, and the vCPU that was stepped alone has it.
        #expect(detachment.guestDebug == (breakpoint.mechanism == .debugRegister ? 2 : 1))
        #expect(try Leavings(tiny) == before)
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    /// The thread's tracer, once there is one.
    private func tracer(of tiny: TinyGuest) throws -> Int32 {
        let end = ContinuousClock.now + .paced(20)
        while ContinuousClock.now < end {
            let path = "task/\(try tiny.vcpu().thread)/status"
            let tracer = ProcessFiles(tiny.pid).text(path).flatMap(ProcessStatus.init)?.tracer ?? 0
            if tracer != 0 { return tracer }
            usleep(1000)
        }
        throw Failure("it is not traced")
    }

    @Test(
        "together with its front end, so that nobody is left: the VMM lives on, and has noticed nothing",
        arguments: [["-ex", "continue"], ["-ex", "step 3", "-ex", "source FIFO"]])
    func both(commands: [String]) throws {
        // The guest does not exit by itself: the KVM_RUN that is seen to end is the one that kvmscope has made.
        let tiny = try TinyGuest(image: OddVMMLiveTests.spinning, "relay")
        let clean = try Leavings(tiny)
        let fifo = NSTemporaryDirectory() + "fifo-\(UUID().uuidString)"
        #expect(mkfifo(fifo, 0o600) == 0)
        defer { unlink(fifo) }
        let front = Process(of: Built.tracer.path, [])
        front.arguments? +=
            ["attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "break 0x1050"]
            + commands.map { $0.replacingOccurrences(of: "FIFO", with: fifo) }
        let output = Pipe()
        front.standardInput = FileHandle.nullDevice
        front.standardOutput = output
        front.standardError = FileHandle.nullDevice
        try front.run()
        let tracer = try tracer(of: tiny)
        if commands.contains("step 3") {
            var said = ""
            while !said.contains("Stepped 3"), front.isRunning {
                said += String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
            }
            try leaveAlone(tiny)
        } else {
            let end = ContinuousClock.now + .paced(20)
            // By guest debug or by a patch.
            while ContinuousClock.now < end {
                let now = try Leavings(tiny)
                if now.guestDebug != clean.guestDebug || now.code != clean.code { break }
                usleep(1000)
            }
            usleep(300_000)
        }
        #expect(front.isRunning)
        // Nor is it given the time to see the tracer's end.
        kill(front.processIdentifier, SIGSTOP)
        kill(tracer, SIGKILL)
        usleep(20_000)
        kill(front.processIdentifier, SIGKILL)
        front.waitUntilExit()
        let before = try tiny.signals
        for round in 1...3 {
            // KVM_RUN comes back to the VMM: each is taken by the main thread, and by the vCPU's.
            kill(tiny.pid, SIGUSR1)
            let end = ContinuousClock.now + .paced(10)
            while try tiny.signals < before + UInt64(2 * round), tiny.process.isRunning {
                guard ContinuousClock.now < end else { throw Failure("KVM_RUN does not come back") }
                usleep(1000)
            }
        }
        usleep(50_000)
        #expect(tiny.process.isRunning)
        let log = try tiny.vcpu()
        // One that comes before KVM_RUN is called again interrupts nothing.
        #expect(log.interrupted >= 1 && log.interrupted <= log.signals)
        #expect(log.debug == 0 && log.other == 0 && log.unexplained == 0, "\(log)")
    }

    @Test(
        "with its threads held in the VMM's own wait, before or after they ran a guest: they wait on, and the VMM lives",
        arguments: ["prompt", "freeze"], [false, true])
    func heldElsewhere(kind: String, isStopped: Bool) throws {
        let image = kind == "freeze" ? FatalExitLiveTests.dying(FatalExitLiveTests.lost) : nil
        let tiny = try TinyGuest(image: image, kind)
        if image != nil { try FatalExitLiveTests.awaitFreeze(tiny) }
        let (target, debugger) = try tiny.stopped()
        // Calls are made in the threads' names, by single steps of theirs.
        _ = try debugger.fpu()
        if isStopped { kill(tiny.pid, SIGSTOP) }
        usleep(400_000)
        killTracer(target)
        let end = ContinuousClock.now + .paced(10)
        while !target.client.isLost, ContinuousClock.now < end { usleep(1000) }
        if isStopped { kill(tiny.pid, SIGCONT) }
        usleep(100_000)
        try #require(tiny.process.isRunning)
        guard image == nil else {
            #expect(try tiny.vcpu().returns == 1 && tiny.vcpu().other == 1)
            return
        }
        kill(tiny.pid, SIGUSR1)
        try tiny.waitForRounds(3)
        try tiny.expectUnnoticed()
    }

    /// A thread of the VMM that does not come back from the kernel for long: the guard of a front end that is gone waits for
    /// it, to leave nothing in it, but no longer than a minute, or 2 s once it is asked to end.
    private func guardIsLeft(_ tiny: TinyGuest) throws -> Int32 {
        let fifo = NSTemporaryDirectory() + "fifo-\(UUID().uuidString)"
        #expect(mkfifo(fifo, 0o600) == 0)
        defer { unlink(fifo) }
        let front = Process(of: Built.tracer.path, [])
        front.arguments? += ["attach", "\(tiny.pid)", "--batch", "-ex", "info fpu", "-ex", "source \(fifo)"]
        front.standardOutput = FileHandle.nullDevice
        front.standardError = FileHandle.nullDevice
        kill(tiny.pid, SIGUSR2)
        let end = ContinuousClock.now + .paced(20)
        while try !String(contentsOfFile: "/proc/\(tiny.pid)/syscall", encoding: .utf8).hasPrefix("58 ") {
            guard ContinuousClock.now < end else { throw Failure("it does not call vfork") }
            usleep(1000)
        }
        try front.run()
        var left: Int32?
        while left == nil {
            guard ContinuousClock.now < end else { throw Failure("it is not traced") }
            left = ProcessFiles(tiny.pid).text("task/\(tiny.pid)/status").flatMap(ProcessStatus.init)?.tracer
            if left == 0 { left = nil }
            usleep(1000)
        }
        kill(front.processIdentifier, SIGKILL)
        front.waitUntilExit()
        return try #require(left)
    }

    private func awaitEnd(of process: Int32, within limit: Duration) throws {
        let end = ContinuousClock.now + limit
        while kill(process, 0) == 0, ProcessFiles(process).state() != "Z" {
            guard ContinuousClock.now < end else { throw Failure("the guard stays") }
            usleep(10_000)
        }
    }

    @Test(
        "a guard that waits for a thread deep in the kernel ends when it is asked to, the thread still there")
    func staleGuard() throws {
        let tiny = try TinyGuest(vcpus: 1, "prompt", "vfork=600")
        let left = try guardIsLeft(tiny)
        kill(left, SIGTERM)
        try awaitEnd(of: left, within: .paced(60))
        #expect(try String(contentsOfFile: "/proc/\(tiny.pid)/syscall", encoding: .utf8).hasPrefix("58 "))
        #expect(tiny.process.isRunning)
    }

    @Test(
        "and by itself within its bound of a minute",
        .enabled(
            if: ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] == "1", "takes a minute: KVMSCOPE_SLOW=1"
        ))
    func staleGuardLeftAlone() throws {
        let tiny = try TinyGuest(vcpus: 1, "prompt", "vfork=600")
        let left = try guardIsLeft(tiny)
        try awaitEnd(of: left, within: .paced(240))
        #expect(try String(contentsOfFile: "/proc/\(tiny.pid)/syscall", encoding: .utf8).hasPrefix("58 "))
        #expect(tiny.process.isRunning)
    }

    /// Kills the tracer at some moment of what the guest does, and waits until what it has left is put back.
    ///
    /// - Returns: whether the VMM lives on.
    private func survivesKill(_ tiny: TinyGuest, _ target: AttachedTarget, _ debugger: Debugger) throws
        -> Bool
    {
        #expect(try debugger.collectStop(timeout: .milliseconds(Int64.random(in: 20...80))) == nil)
        killTracer(target)
        let end = ContinuousClock.now + .paced(20)
        while !target.client.isLost, ContinuousClock.now < end { usleep(1000) }
        #expect(target.client.isLost)
        usleep(20_000)
        return tiny.process.isRunning
    }

    @Test(
        "amid steps, at any moment of them: all is put back, and the VMM has noticed nothing",
        arguments: [[], ["filter", "kick"]])
    func amidSteps(options: [String]) throws {
        let rounds = Rounds.scaled(8, full: 50, atLeast: 4)
        var (ended, unlike, seen) = (0, 0, 0)
        for _ in 0..<rounds {
            let tiny = try TinyGuest(vcpus: 2, options.first ?? "-", options.last ?? "-")
            let before = try Leavings(tiny)
            let (target, debugger) = try tiny.stopped()
            try setBreakpoints(debugger)
            try debugger.startStep(count: 10_000_000)
            guard try survivesKill(tiny, target, debugger) else {
                ended += 1
                continue
            }
            // A thread of the VMM that takes a signal blocks some for as long.
            let limit = ContinuousClock.now + .paced(2)
            while try Leavings(tiny) != before, ContinuousClock.now < limit { usleep(1000) }
            let after = try Leavings(tiny)
            if after != before {
                unlike += 1
                print(after.signals, before.signals, after.guestDebug, after.validRegisters)
            }
            for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
            for vcpu in 0..<2 {
                let log = try tiny.vcpu(vcpu)
                if log.debug + log.other + log.wrong + log.unexplained > 0 { seen += 1 }
            }
        }
        #expect(ended == 0 && unlike == 0 && seen == 0, "of \(rounds) kills: \(ended), \(unlike), \(seen)")
    }

    @Test(
        "while the guest runs over patches in its hottest code: they are out, and the VMM has noticed nothing"
    )
    func hotPatches() throws {
        let rounds = Rounds.scaled(8, full: 50, atLeast: 4)
        var (ended, wrong, foreign, unexplained) = (0, 0, 0, 0)
        for _ in 0..<rounds {
            let tiny = try TinyGuest(vcpus: 2)
            let before = try Leavings(tiny)
            let (target, debugger) = try tiny.stopped()
            try debugger.fillDebugRegisters(places: 3)
            // In the loop that is run 64 times a round, and once a round.
            for place: UInt64 in [0x100B, 0x1012, 0x1019, 0x1023] {
                let breakpoint = try debugger.setBreakpoint(at: .linear(place), condition: "$bx == 9")
                #expect(breakpoint.mechanism.isPatch)
            }
            try debugger.startContinue()
            guard try survivesKill(tiny, target, debugger) else {
                ended += 1
                continue
            }
            #expect(try Leavings(tiny) == before)
            for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
            for vcpu in 0..<2 {
                let log = try tiny.vcpu(vcpu)
                wrong += Int(log.wrong)
                foreign += Int(log.other)
                unexplained += Int(log.unexplained)
            }
        }
        #expect(
            ended == 0 && wrong == 0 && foreign == 0 && unexplained == 0,
            "of \(rounds) kills: \(ended), \(wrong), \(foreign), \(unexplained)")
    }

    @Test("its front end killed soon after it, amid steps: the VMM is not left stopped")
    func oneAfterTheOther() throws {
        for round in 0..<Rounds.scaled(6, full: 60, atLeast: 3) {
            let tiny = try TinyGuest(vcpus: 2)
            let front = Process(of: Built.tracer.path, [])
            front.arguments? += [
                "attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "break 0x9000", "-ex",
                "step 10000000",
            ]
            front.standardInput = FileHandle.nullDevice
            front.standardOutput = FileHandle.nullDevice
            front.standardError = FileHandle.nullDevice
            try front.run()
            let tracer = try tracer(of: tiny)
            usleep(.random(in: 100_000...200_000))
            kill(tracer, SIGKILL)
            // With time enough for the rescue to begin, but for the first.
            usleep(UInt32(round * 10_000))
            kill(front.processIdentifier, SIGKILL)
            front.waitUntilExit()
            let files = ProcessFiles(tiny.pid)
            let end = ContinuousClock.now + .paced(10)
            while tiny.process.isRunning, files.state() == "T" || (try? tiny.isTraced(0)) == true,
                ContinuousClock.now < end
            { usleep(1000) }
            #expect(files.state() != "T")
            do {
                for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
            } catch  where !tiny.process.isRunning {
                // Killed before the rescue has begun: the trap of a step was its end.
            }
        }
    }
}
