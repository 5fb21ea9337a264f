import CLinux
import Glibc
import KVMCore
import TargetConformance
import Testing

@testable import Monitor

/// The kernel's own counters, from wherever they come.
struct StatisticsSourceTests {
    private struct Files: StatisticsFiles {
        var all: [StatisticsValue] = []
        var trouble: String?
        func values() throws(MonitorError) -> [StatisticsValue] {
            if let trouble { throw MonitorError(trouble) }
            return all
        }
    }

    @Test func countersOfAProcessAreAddedUp() throws {
        let source = StatisticsSource(
            files: Files(all: [
                StatisticsValue(process: 100, place: 0, count: 70),
                StatisticsValue(process: 100, place: 1, count: 5),
                StatisticsValue(process: 100, place: 0, count: 30),
                StatisticsValue(process: 200, place: 0, count: 1),
            ]), .statistics, missing: ["no BPF"])
        let counters = Dictionary(
            try source.read().counters.map { ($0.key, $0.counter.count) },
            uniquingKeysWith: { first, _ in first })
        #expect(
            counters == [
                CounterKey(100, .kernelCounter, 0): 100, CounterKey(100, .kernelCounter, 1): 5,
                CounterKey(200, .kernelCounter, 0): 1,
            ])
        #expect(source.badge.missing == ["no BPF"])
    }

    @Test func countersThatMayNotBeReadAreSaidAndNoZero() {
        let locked = StatisticsSource(
            files: Files(trouble: "the kernel is locked down"), .statistics, missing: [])
        #expect(throws: MonitorError("the kernel is locked down")) { try locked.read() }
        #expect(throws: Never.self) { try StatisticsSource(files: Files(), .statistics, missing: []).read() }
    }

    @Test(
        arguments: [
            ("70\n", 70), ("0", 0), ("many", nil), ("", nil), ("-1\n", nil), ("99999999999999999999", nil),
        ] as [(String, UInt64?)])
    func aFileIsANumberOrNothing(text: String, number: UInt64?) {
        #expect(DebugFSStatistics.number(text) == number)
    }

    /// What lockdown answers is told as that.
    @Test func lockdownIsNamed() {
        #expect(
            DebugFSStatistics.refused(EPERM, at: "/d")
                == "the counters in /d cannot be read (Operation not permitted): the kernel is locked down")
        #expect(
            DebugFSStatistics.refused(EACCES, at: "/d")
                == "the counters in /d cannot be read (Permission denied)"
        )
    }

    @Test(.enabled(if: KVM.isAvailable && geteuid() == 0, "needs /dev/kvm and root"))
    func descriptorsThatAVMMHoldsAreRead() throws {
        // out 0x80, al; jmp $-2
        let guest = try CodeGuest([0xE6, 0x80, 0xEB, 0xFC], vcpus: 2)
        let vcpus = guest.vcpus
        let first = try vcpus[0].statistics()
        let second = try vcpus[1].statistics()
        func total(_ name: String) throws -> UInt64 {
            try (first.read() + second.read()).filter { $0.name == name }.reduce(0) { $0 + $1.values[0] }
        }
        let source = StatisticsSource(descriptors: [])
        #expect(source.badge.way == .descriptors && source.badge.countsOnly)
        for _ in 0..<3 {
            for vcpu in vcpus { for _ in 0..<50 { _ = try vcpu.run() } }
            // Another test of this process may have a VM, too: what is read is at least what these have.
            let counters = try source.read().counters
            let own = try total("exits")
            let read = counters.first { $0.key == CounterKey(getpid(), .kernelCounter, 0) }
            #expect((read?.counter.count ?? 0) >= own && own > 0)
        }
    }

    /// A VM's folder in debugfs tells that it came, that a vCPU came, and that it is gone.
    @Test(.enabled(if: TinyVMM.isThere, "needs /dev/kvm and root"))
    func machinesComeAndGoInDebugFS() throws {
        let machines = DebugFSMachines(try .debugging())
        // Those that this thread has made: other tests make some, too.
        let thread = clinux_thread_id()
        func own() throws -> Set<String> {
            try #require(machines.marks).filter { $0.hasPrefix("\(thread)-") }
        }
        let before = try own()
        var made: Set<String> = []
        do {
            let vm = try KVM.open().createVM()
            made = try own()
            #expect(made.count == before.count + 1)
            #expect(machines.all.contains { $0.folder.hasPrefix("\(thread)-") && $0.process == getpid() })
            let vcpu = try vm.createVCPU(id: 0)
            let grown = try own()
            #expect(grown.count == made.count && grown != made)
            withExtendedLifetime(vcpu) {}
        }
        #expect(try own() == before)
    }

    @Test func aDuplicateIsTheSameFile() {
        let first = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let copy = fcntl(first, F_DUPFD_CLOEXEC, 0)
        let second = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { for descriptor in [first, copy, second] { close(descriptor) } }
        #expect(clinux_same_file(getpid(), first, copy) == 1)
        #expect(clinux_same_file(getpid(), first, second) == 0)
        #expect(clinux_same_file(getpid(), first, -1) == -EBADF)
    }
}
