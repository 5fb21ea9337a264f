import DebugTarget
import Debugger
import Foundation
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// SIGSTOP and SIGCONT to a VMM that is attached to: what is stopped stays so, whatever the debugger does.
@Suite("A VMM stopped by a signal", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct StoppedVMMLiveTests {
    private func state(_ tiny: TinyGuest) -> Character? {
        guard let text = try? String(contentsOfFile: "/proc/\(tiny.pid)/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return nil }
        return text[end...].dropFirst(2).first
    }

    private func stop(_ tiny: TinyGuest) throws {
        kill(tiny.pid, SIGSTOP)
        let deadline = ContinuousClock.now + .paced(10)
        while state(tiny) != "T" {
            guard ContinuousClock.now < deadline else { throw Failure("it does not stop") }
            usleep(500)
        }
        // Its other threads follow.
        usleep(5000)
    }

    private func held(_ debugger: Debugger) throws {
        try debugger.startContinue()
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
    }

    private func returns(_ tiny: TinyGuest) throws -> [UInt64] {
        try (0..<2).map { try tiny.vcpu($0).returns }
    }

    private func expectStill(_ tiny: TinyGuest, _ location: SourceLocation = #_sourceLocation) throws {
        let before = try returns(tiny)
        usleep(30_000)
        #expect(try returns(tiny) == before, sourceLocation: location)
    }

    private func expectGoesOn(_ tiny: TinyGuest, stops: UInt64) throws {
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            let log = try tiny.vcpu(vcpu)
            #expect(log.debug == 0 && log.other == 0 && log.wrong == 0)
            // A stop ends KVM_RUN with EINTR, traced or not.
            #expect(log.interrupted <= log.signals + stops)
        }
    }

    @Test("while its guest runs: it stands, and goes on with SIGCONT", arguments: [false, true])
    func running(isTraced: Bool) throws {
        let tiny = try TinyGuest(vcpus: 2, "filter")
        let debugger = try Debugger(target: try tiny.attach())
        // Patches, so that all vCPUs are traced while they run.
        if isTraced {
            try debugger.fillDebugRegisters(places: 5)
        }
        try debugger.startContinue()
        for _ in 0..<10 {
            try stop(tiny)
            #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
            try expectStill(tiny)
            #expect(try debugger.liveSnapshot().activity == .paused)
            kill(tiny.pid, SIGCONT)
            for vcpu in 0..<2 {
                let rounds = try tiny.vcpu(vcpu).rounds
                let deadline = ContinuousClock.now + .paced(10)
                while try tiny.vcpu(vcpu).rounds < rounds + 2 {
                    guard ContinuousClock.now < deadline else { throw Failure("it does not go on") }
                    #expect(try debugger.collectStop(timeout: .milliseconds(1)) == nil)
                }
            }
        }
        try debugger.detach()
        try expectGoesOn(tiny, stops: 10)
    }

    @Test(
        "while it is held: its registers are there, and neither `continue` nor `detach` lets it go before SIGCONT"
    )
    func held() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let debugger = try Debugger(target: try tiny.attach())
        for round in 0..<6 {
            try held(debugger)
            if round % 2 == 0 {
                try stop(tiny)
            } else {
                // The calls may meet the signal before any other thread does.
                kill(tiny.pid, SIGSTOP)
            }
            _ = try debugger.fpu()
            if round % 3 == 0 { try debugger.setRegister("r15", to: 5) }
            try stop(tiny)
            try debugger.startContinue()
            #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
            try expectStill(tiny)
            // Stopped again, and let go again, it still stands.
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
            _ = try debugger.fpu()
            try debugger.startContinue()
            #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
            try expectStill(tiny)
            kill(tiny.pid, SIGCONT)
            for vcpu in 0..<2 { try tiny.waitForRounds(2, vcpu: vcpu) }
            debugger.interrupt()
            _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        }
        try stop(tiny)
        try debugger.detach()
        try expectStill(tiny)
        #expect(try !tiny.isTraced(0) && !tiny.isTraced(1))
        kill(tiny.pid, SIGCONT)
        try expectGoesOn(tiny, stops: 24)
    }

    @Test("a step of it says what keeps it, and is made after SIGCONT")
    func step() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let debugger = try Debugger(target: try tiny.attach())
        try held(debugger)
        try stop(tiny)
        let stop = try debugger.step()
        guard case .withheld(let withholding) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(withholding.reason.contains("stopped by a signal"), "\(withholding)")
        #expect(withholding.remedy.contains("kill -CONT \(tiny.pid)"), "\(withholding)")
        try expectStill(tiny)
        kill(tiny.pid, SIGCONT)
        #expect(try debugger.step(count: 300).reason == .step(count: 300))
        // In the midst of a step of many.
        try debugger.startStep(count: 100_000_000)
        #expect(try debugger.collectStop(timeout: .milliseconds(20)) == nil)
        try self.stop(tiny)
        try expectStill(tiny)
        kill(tiny.pid, SIGCONT)
        let rounds = try tiny.vcpu(0).rounds
        while try tiny.vcpu(0).rounds < rounds + 2 {
            #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
        }
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        try debugger.detach()
        try expectGoesOn(tiny, stops: 2)
    }

    @Test("one that stands before it is attached to: looked at, and let go as it stands")
    func before() throws {
        let tiny = try TinyGuest(vcpus: 2)
        try stop(tiny)
        do {
            let debugger = try Debugger(target: try tiny.attach())
            try debugger.startContinue()
            #expect(try (0..<2).allSatisfy { try debugger.liveSnapshot(vcpu: $0).activity == .paused })
            _ = try debugger.fpu()
            try expectStill(tiny)
            try debugger.detach()
        }
        #expect(state(tiny) == "T")
        kill(tiny.pid, SIGCONT)
        try expectGoesOn(tiny, stops: 1)
    }

    @Test(
        "one that has not begun to run: neither a look nor a breakpoint that waits lets it go before SIGCONT")
    func notBegun() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        try stop(tiny)
        let debugger = try Debugger(target: try tiny.attach())
        try held(debugger)
        _ = try debugger.fpu()
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x1002))
        try debugger.startContinue()
        // Its word waits, too.
        kill(tiny.pid, SIGUSR1)
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        #expect(try returns(tiny) == [0, 0])
        kill(tiny.pid, SIGCONT)
        let hit = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(hit.reason == .breakpoint([breakpoint.number]))
        #expect(try tiny.vcpu(hit.vcpu).io == 1)
        try debugger.detach()
        try expectGoesOn(tiny, stops: 1)
    }
}
