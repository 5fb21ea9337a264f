import Glibc
import Host
import Testing

struct ThreadSampleTests {
    /// Field 3 on; 14 user, 15 kernel, 39 host CPU, 43 guest.
    private func stat(
        name: String = "vcpu 0", user: UInt64 = 500, kernel: UInt64 = 20, cpu: String = "3",
        guest: String = "400"
    ) -> String {
        var fields = [String](repeating: "0", count: 50)
        fields[0] = "S"
        fields[14 - 3] = "\(user)"
        fields[15 - 3] = "\(kernel)"
        fields[39 - 3] = cpu
        fields[43 - 3] = guest
        return "1234 (\(name)) " + fields.joined(separator: " ") + "\n"
    }
    private let status = """
        Name:\tvcpu 0
        voluntary_ctxt_switches:\t17
        nonvoluntary_ctxt_switches:\t4
        """

    @Test(arguments: ["vcpu 0", "CPU 0/KVM", "a) b (c", ")", ""])
    func guestTimeIsTakenOutOfUserTime(name: String) throws {
        let sample = try #require(
            ThreadSample(time: 9, stat: stat(name: name), status: status, schedstat: "77 88 99\n"))
        #expect(
            sample
                == ThreadSample(
                    time: 9, hostCPU: 3, userTicks: 100, guestTicks: 400, kernelTicks: 20, onCPU: 77,
                    waiting: 88,
                    voluntarySwitches: 17, involuntarySwitches: 4))
    }

    @Test func filesMayBeShort() throws {
        #expect(ThreadSample(time: 0, stat: "", status: status, schedstat: nil) == nil)
        #expect(ThreadSample(time: 0, stat: "1 (x) S 1 2", status: status, schedstat: nil) == nil)
        #expect(ThreadSample(time: 0, stat: stat(), status: "Name: x", schedstat: nil) == nil)
        #expect(ThreadSample(time: 0, stat: stat(cpu: "x"), status: status, schedstat: nil) == nil)
        let sample = try #require(ThreadSample(time: 0, stat: stat(), status: status, schedstat: nil))
        #expect(sample.onCPU == nil)
        #expect(sample.waiting == nil)
        let torn = try #require(ThreadSample(time: 0, stat: stat(), status: status, schedstat: "x"))
        #expect(torn.onCPU == nil)
        // A kernel whose guest time is ahead of its user time: never negative.
        let ahead = try #require(
            ThreadSample(time: 0, stat: stat(user: 5, guest: "9"), status: status, schedstat: nil))
        #expect(ahead.userTicks == 0)
    }

    @Test func sharesOfTheTimeThatPassed() throws {
        let earlier = try #require(
            ThreadSample(
                time: 0, stat: stat(user: 0, kernel: 0, guest: "0"), status: status, schedstat: "0 0 0"))
        let later = try #require(
            ThreadSample(
                time: 2_000_000_000, stat: stat(user: 120, kernel: 50, guest: "100"), status: status,
                schedstat: "0 500000000 0"))
        let usage = try #require(ThreadUsage(from: earlier, to: later, ticksPerSecond: 100))
        #expect(usage == ThreadUsage(guest: 0.5, kernel: 0.25, user: 0.1, waiting: 0.25))
        #expect(ThreadUsage(from: later, to: earlier, ticksPerSecond: 100) == nil)
        #expect(ThreadUsage(from: later, to: later, ticksPerSecond: 100) == nil)
        #expect(ThreadUsage(from: earlier, to: later, ticksPerSecond: 0) == nil)
    }

    @Test func thisThread() throws {
        let sample = try #require(ThreadSample(process: getpid(), thread: getpid()))
        #expect(sample.time > 0)
        #expect(sample.hostCPU >= 0)
        #expect(ThreadSample(process: getpid(), thread: -1) == nil)
    }
}
