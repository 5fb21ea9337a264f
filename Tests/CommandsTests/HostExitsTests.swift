import DebugTarget
import Debugger
import Monitor
import RecordedHosts
import Testing

@testable import Commands

/// `info exits` of a guest that another program runs, from what the host counts.
@Suite struct HostExitsTests {
    /// The made-up guest's process is 0: so is that of the recorded one.
    private func watched(_ host: RecordedHost) throws -> (ForeignGuest, Driver) {
        let guest = ForeignGuest(FakeGuest([0xEB, 0xFE]))
        let driver = Driver(guest.inner, try Debugger(target: guest))
        driver.session.hostExits = HostExits(
            process: 0, name: "web", vcpus: { [MonitoredGuest.VCPU(id: 0, thread: 1201)] },
            open: { () throws(MonitorError) in host })
        return (guest, driver)
    }

    @Test func theHostsCountsComeWithNoStop() throws {
        let host = RecordedHost.busy()
        let (guest, driver) = try watched(host)
        let first = try driver.text("info exits")
        #expect(first[0] == "On the host for 0.0 s, with no stop (source BPF, nothing lost)")
        #expect(first[1] == "none in that time")
        host.passBusily()
        let text = try driver.text("info exits")
        #expect(text[0] == "On the host for 1.0 s, with no stop (source BPF, nothing lost)")
        #expect(text.contains { $0.hasPrefix("kvm_exit(IO_INSTRUCTION)") && $0.contains("2.00 us") })
        #expect(text.contains { $0.hasPrefix("kvm_userspace_exit(IO)") })
        #expect(text.contains("at port 0x3f8 out 280, port 0x3fd in 20"))
        #expect(!text.contains { $0.contains("No exits") })
        // The kernel's own counters, for which the guest has to be stopped, are not needed.
        #expect(!text.contains { $0.contains("KVM_GET_STATS_FD") })
        #expect(guest.standstills.count == 0)
        let output = try #require(try driver.output("info exits") as? ExitsOutput)
        #expect(output.host?.source == "BPF")
        #expect(output.kernel == nil)
        try driver.output("exits reset")
        #expect(try driver.text("info exits")[1] == "none in that time")
    }

    @Test func aHostThatRefusesIsNamedAndTheKernelsCountersStandIn() throws {
        let (_, driver) = try watched(RecordedHost.busy())
        driver.session.hostExits = HostExits(
            process: 0, name: "web", vcpus: { [] },
            open: { () throws(MonitorError) in
                throw MonitorError("the kernel refuses BPF programs", remedy: "run kvmscope as root")
            })
        let text = try driver.text("info exits")
        #expect(
            text[0]
                == "the host does not tell the guest's exits: the kernel refuses BPF programs; run kvmscope as root"
        )
        #expect(text.contains { $0.contains("KVM_GET_STATS_FD") })
    }
}
