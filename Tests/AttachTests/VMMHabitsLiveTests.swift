import DebugTarget
import Debugger
import Foundation
import Host
import TargetConformance
import Testing
import X86

@testable import Attach

/// VMMs that run their vCPUs otherwise than by a thread each that does little else.
@Suite("VMMs of other habits", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct VMMHabitsLiveTests {
    @Test("a vCPU's thread that is busy in the VMM's own code, in no call")
    func busy() throws {
        let tiny = try TinyGuest(vcpus: 2, "busy")
        let end = ContinuousClock.now + .paced(20)
        while try tiny.vcpu(1).rounds < 10, ContinuousClock.now < end { usleep(1000) }
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        // Nothing has come with an exit since: they are asked for, where the thread is.
        #expect(try debugger.liveSnapshot(vcpu: 1).special.cr0.contains(.pe) == false)
        debugger.interrupt()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.vcpus.map(\.id) == [0, 1])
        try debugger.select(vcpu: 0)
        #expect(try debugger.step(count: 50).reason == .step(count: 50))
        try debugger.select(vcpu: 1)
        try debugger.setRegister("bx", to: 0x2A)
        try debugger.detach()
        #expect(try tiny.vcpu(1).rounds == 10)
        kill(tiny.pid, SIGUSR1)
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
            #expect(try !tiny.isTraced(vcpu))
        }
        #expect(try tiny.vcpu(1).lastCommand == 0x2A)
    }

    private func expectWorks(_ tiny: TinyGuest) throws {
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(try debugger.step(count: 50).reason == .step(count: 50))
        #expect(target.memory.regions.count == 3)
        try debugger.detach()
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    private static let asksKernel = (try? KernelReader.shared()) != nil

    @Test("a VM with no vCPU beside the guest's own", .enabled(if: asksKernel, "needs BPF"))
    func probe() throws {
        let tiny = try TinyGuest(vcpus: 2, "probe")
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(guest.obstacle == nil && guest.machines == 1 && guest.vmDescriptors.count == 1)
        try expectWorks(tiny)
        // Without the kernel nobody knows whose the vCPUs are.
        let unsure = try #require(GuestFinder(readsKernel: false).guest(process: tiny.pid))
        #expect(unsure.obstacle?.code == .unsupported)
    }

    @Test(
        "a process that was forked and has the descriptors is no VMM", .enabled(if: asksKernel, "needs BPF"))
    func heir() throws {
        let tiny = try TinyGuest(vcpus: 2, "heir")
        let end = ContinuousClock.now + .paced(20)
        while try tiny.heir == 0, ContinuousClock.now < end { usleep(1000) }
        let heir = try tiny.heir
        let listed = GuestFinder().guests().guests.map(\.process)
        #expect(listed.contains(tiny.pid) && !listed.contains(heir))
        let refusal = #expect(throws: HostGuestError.self) {
            try AttachedTarget(try GuestFinder().guest(matching: "\(heir)"), tracer: Built.tracer)
        }
        #expect(refusal?.message.contains("another process made") == true)
        try expectWorks(tiny)
    }
}
