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

    @Test func catchpointsHaveWhatTheHostCounts() throws {
        let host = RecordedHost.busy()
        // One whose exits are seen, so that they can be stopped at, too.
        let driver = try Driver()
        driver.session.hostExits = HostExits(
            process: driver.session.debugger.target.vcpus.first?.process ?? 0, name: "web",
            vcpus: { [MonitoredGuest.VCPU(id: 0, thread: 1201)] },
            open: { () throws(MonitorError) in host })
        #expect(try driver.text("catch exit io") == ["Catchpoint 1 (exit IO) (by exit)"])
        try driver.output("catch io 0x3f8-0x3fb out")
        try driver.output("catch hlt")
        host.passBusily()
        let list = try #require(try driver.output("info breakpoints") as? BreakpointList)
        #expect(list.breakpoints.map { $0.onHost?.count } == [300, 280, 40])
        #expect(list.breakpoints.map(\.hits) == [0, 0, 0])
        let text = try driver.text("info breakpoints")
        #expect(text.contains("        on the host, with no stop: 300 in 1.0 s, 300/s"))
        #expect(
            try driver.text("catch exit io").last == "  on the host, with no stop: 300 in 1.0 s, 300/s")
        try driver.output("catch mmio 0xfeb00000-0xfeb00fff")
        try driver.output("catch mode")
        let more = try #require(try driver.output("info breakpoints") as? BreakpointList)
        // Another guest's accesses are not this one's; a mode switch is nothing that the host tells.
        #expect(more.breakpoints.suffix(2).map { $0.onHost?.count } == [0, nil])
        #expect(more.breakpoints.suffix(2).map { $0.onHost?.isOfPages } == [true, nil])
    }

    @Test func whatCannotBeStoppedAtIsCountedAllTheSame() throws {
        let host = RecordedHost.busy()
        let (_, driver) = try watched(host)
        _ = try driver.text("info exits")
        host.passBusily()
        let error = #expect(throws: CommandError.self) { try driver.output("catch exit io") }
        #expect(error?.message.hasSuffix("(on the host, with no stop: 300 in 1.0 s, 300/s)") == true)
    }
}
