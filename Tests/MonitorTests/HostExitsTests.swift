import Host
import RecordedHosts
import Testing

@testable import Monitor

@Suite struct HostExitsTests {
    private func exits(_ host: RecordedHost) -> HostExits {
        HostExits(
            process: 1200, name: "web",
            vcpus: { [MonitoredGuest.VCPU(id: 0, thread: 1201), MonitoredGuest.VCPU(id: 1, thread: 1202)] },
            open: { () throws(MonitorError) in host })
    }

    @Test func countsGoOnFromLookToLook() throws {
        let host = RecordedHost.busy()
        let exits = exits(host)
        #expect(exits.isClosed)
        #expect(try exits.look().report.reasons(Selection()).isEmpty)
        #expect(!exits.isClosed)
        host.passBusily()
        _ = try exits.look()
        host.passBusily()
        let look = try exits.look()
        let io = try #require(
            look.report.reasons(Selection(process: 1200)).first { $0.name == "IO_INSTRUCTION" })
        #expect(io.count == 600)
        #expect(io.mean == 2000)
        #expect(look.report.sample.seconds == 2)
        #expect(look.rates?[io.key] == 300)
        #expect(look.vcpus.map(\.lastExit) == ["IO", nil])
        #expect(look.vcpuRates == [0: 460, 1: 95])
        // Another guest's exits are not this one's.
        #expect(!look.report.reasons(Selection(process: 1200)).contains { $0.name == "MMIO" })
        exits.reset()
        #expect(try exits.look().report.reasons(Selection(process: 1200)).isEmpty)
    }

    @Test func ratesAreOverASecondAtLeast() throws {
        let host = RecordedHost.busy()
        let exits = exits(host)
        _ = try exits.look()
        host.pass(seconds: 0.4)
        host.count(.vmx(1201, 12), 40)
        #expect(try exits.look().rates == nil)
        host.pass(seconds: 0.6)
        #expect(try exits.look().rates?[ReasonKey(.hardware, 1 << 32 | 12)] == 40)
    }

    @Test func aHostThatRefusesIsAskedOnce() {
        var asked = 0
        let exits = HostExits(
            process: 1, name: "x", vcpus: { [] },
            open: { () throws(MonitorError) in
                asked += 1
                throw MonitorError("no")
            })
        for _ in 0..<3 { #expect(throws: MonitorError("no")) { try exits.look() } }
        #expect(asked == 1)
    }
}
