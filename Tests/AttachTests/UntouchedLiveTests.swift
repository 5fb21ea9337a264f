import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// A VMM that has made its vCPUs and has not run them: their threads wait for a word.
@Suite("vCPUs that no thread has run yet", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct UntouchedLiveTests {
    /// Gives the small VMM its word.
    private func begin(_ tiny: TinyGuest) { kill(tiny.pid, SIGUSR1) }

    private func expectUntraced(_ tiny: TinyGuest) throws {
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tiny.pid)/task")
        for task in tasks {
            let status = try String(contentsOfFile: "/proc/\(tiny.pid)/task/\(task)/status", encoding: .utf8)
            #expect(status.contains("TracerPid:\t0\n"), "thread \(task)")
        }
    }

    private func expectGoesOn(_ tiny: TinyGuest) throws {
        try expectUntraced(tiny)
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(guest.obstacle == nil)
        for vcpu in guest.vcpus {
            #expect(try KernelReader.shared().guestDebug(of: tiny.pid, vcpu: vcpu.descriptor) == 0)
        }
    }

    @Test("it is attached to, each value says where it is from, and nothing is traced in between")
    func passive() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(guest.obstacle == nil && guest.vcpus.allSatisfy { $0.isUntouched && $0.thread == nil })
        let target = try AttachedTarget(guest, tracer: Built.tracer)
        let debugger = try Debugger(target: target)
        #expect(target.vcpus.map(\.thread) == [0, 0])
        try debugger.startContinue()
        for vcpu in 0..<2 {
            let snapshot = try debugger.liveSnapshot(vcpu: vcpu)
            #expect(snapshot.activity == .paused)
            #expect(snapshot.registers.rip == 0x1000 && snapshot.registers.rsi == 12345 + UInt64(vcpu))
            guard case .read = target.registersAge(vcpu: vcpu) else { throw Failure("not as it was read") }
        }
        try expectUntraced(tiny)
        // Asked again at once, they are what they were, with no stop.
        let standstills = target.standstills.count
        _ = try debugger.liveSnapshot(vcpu: 1)
        #expect(target.standstills.count == standstills)
        let registers = try #require(target.valueSources.first { $0.kind == .registers })
        #expect(registers.way == .injectedCalls)
        #expect(registers.missing.first?.reason.contains("has not been in KVM_RUN yet") == true)
        let threads = try #require(target.valueSources.first { $0.kind == .threads })
        #expect(threads.way == .none && threads.age == .unknown)
        #expect(target.memory.regions.count == 3)
        #expect(try target.kernelStatistics().map(\.vcpu) == [nil, 0, 1])
        // What is set is there when it begins: BX is looked at once a round, and goes to port 0x12.
        try debugger.setRegister("bx", to: 0x2A)
        try expectUntraced(tiny)
        begin(tiny)
        for vcpu in 0..<2 { try tiny.waitForRounds(2, vcpu: vcpu) }
        #expect(try tiny.vcpu().lastCommand == 0x2A)
        // From now on its registers come with each exit, and its threads are known at the next stop.
        #expect(try debugger.liveSnapshot().activity == .running)
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(try target.vcpus.map { UInt64($0.thread) } == [tiny.vcpu(0).thread, tiny.vcpu(1).thread])
        #expect(try debugger.step(count: 100).reason == .step(count: 100))
        try debugger.detach()
        try expectGoesOn(tiny)
    }

    @Test("a step says why it cannot be made, and nothing hangs")
    func step() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let debugger = try Debugger(target: try tiny.attach())
        let stop = try debugger.step()
        guard case .withheld(let withholding) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(withholding.reason.contains("has not begun to run vCPU 0"))
        #expect(withholding.remedy.contains("let it run there"))
        #expect(stop[0]?.registers.rip == 0x1000)
        try debugger.detach()
        try expectUntraced(tiny)
        begin(tiny)
        try expectGoesOn(tiny)
    }

    @Test("a breakpoint after the first instruction is hit the first time", arguments: [[], ["filter"]])
    func first(options: [String]) throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt", options.first ?? "-")
        let debugger = try Debugger(target: try tiny.attach())
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1002))
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
        begin(tiny)
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.reason == .breakpoint([breakpoint.number]))
        #expect(stop[stop.vcpu]?.registers.rip == 0x1002)
        // The IN, and nothing since.
        #expect(try tiny.vcpu(stop.vcpu).io == 1)
        #expect(try debugger.step().reason == .step(count: 1))
        try debugger.detach()
        try expectGoesOn(tiny)
    }

    @Test("what the VMM begins while the guest is held begins when it is resumed")
    func held() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        begin(tiny)
        usleep(20_000)
        #expect(try (0..<2).allSatisfy { try tiny.vcpu($0).returns == 0 })
        // The other one is not to go along with it.
        #expect(try debugger.step().reason == .step(count: 1))
        #expect(try tiny.vcpu(1).returns == 0)
        try debugger.detach()
        try expectGoesOn(tiny)
    }

    @Test(
        "the front end killed while it waits for the first KVM_RUN: guest debug is off, and the guest begins")
    func killed() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<Rounds.scaled(3, full: 30) {
            let tiny = try TinyGuest(vcpus: 2, "prompt")
            let front = Process(of: Built.tracer.path, [])
            front.arguments? += [
                "attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "break 0x1012 if $bx == 9", "-ex",
                "continue",
            ]
            let said = Pipe()
            front.standardOutput = said
            front.standardError = said
            front.standardInput = FileHandle.nullDevice
            try front.run()
            let guest = try #require(GuestFinder().guest(process: tiny.pid))
            let deadline = ContinuousClock.now + .paced(20)
            let reader = try KernelReader.shared()
            while reader.guestDebug(of: tiny.pid, vcpu: guest.vcpus[0].descriptor) == 0,
                ContinuousClock.now < deadline
            { usleep(500) }
            if Bool.random(using: &generator) { begin(tiny) }
            usleep(UInt32.random(in: 0...20_000, using: &generator))
            if !front.isRunning {
                let text = String(decoding: said.fileHandleForReading.availableData, as: UTF8.self)
                Issue.record("it has ended by itself: \(text)")
            }
            kill(front.processIdentifier, SIGKILL)
            front.waitUntilExit()
            let end = ContinuousClock.now + .paced(10)
            while (try? expectUntracedQuietly(tiny)) != true, ContinuousClock.now < end { usleep(500) }
            begin(tiny)
            try expectGoesOn(tiny)
        }
    }

    private func expectUntracedQuietly(_ tiny: TinyGuest) throws -> Bool {
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(tiny.pid)/task")
        return try tasks.allSatisfy { task in
            try String(contentsOfFile: "/proc/\(tiny.pid)/task/\(task)/status", encoding: .utf8)
                .contains("TracerPid:\t0\n")
        }
    }
}
