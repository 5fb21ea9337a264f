import DebugTarget
import Dispatch
import Glibc
import Synchronization
import Testing

@testable import KVMCore
@testable import Machine

/// All stop, all go, and one report of each run: with threads of vCPUs that no thread serves, and no KVM.
@Suite struct RunCoordinatorTests {
    private final class Nobody: RunController {
        func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .park }
        func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .park }
        func end(_ vcpu: any VCPUAccess) throws(KVMError) {}
    }

    /// Vcpus 0 and up, with memory of their own in place of `kvm_run`.
    private struct Fixture {
        let coordinator: RunCoordinator
        let threads: [VCPUThread]
        let exits: [ImmediateExit]

        init(_ count: Int) throws {
            coordinator = try RunCoordinator()
            exits = try (0..<count).map { _ in ImmediateExit(page: RunPage(try Mapping(anonymous: 12_288))) }
            threads = exits.enumerated().map { VCPUThread(id: $0.offset, immediateExit: $0.element) }
        }

        func start() -> Bool {
            coordinator.start(threads) { _ in Nobody() }
        }

        /// Those that were told to leave the guest.
        var kicked: [Int] {
            threads.indices.filter {
                exits[$0].isRequested && threads[$0].attention.load(ordering: .sequentiallyConsistent)
            }
        }

        /// Whether who polls for a stop finds one.
        var isRaised: Bool {
            var poll = pollfd(fd: coordinator.stopDescriptor, events: Int16(POLLIN), revents: 0)
            return Glibc.poll(&poll, 1, 0) == 1
        }

        func report() -> StopReport? { coordinator.wait(until: monotonicTime()) }
    }

    @Test func oneRunAtATimeUntilItsReportIsTaken() throws {
        let fixture = try Fixture(2)
        #expect(!fixture.coordinator.isRunning && fixture.report() == nil)
        #expect(fixture.start() && fixture.coordinator.isRunning && !fixture.coordinator.isAlone)
        for thread in fixture.threads {
            guard case .run? = thread.take() else {
                Issue.record("vCPU \(thread.id) was not resumed")
                continue
            }
        }
        #expect(!fixture.start())
        fixture.coordinator.isBack(0, reason: .step(count: 1), isParked: false)
        #expect(fixture.report() == nil && !fixture.isRaised && fixture.coordinator.isRunning)
        fixture.coordinator.isBack(1, reason: nil, isParked: false)
        // Over, but not collected.
        #expect(fixture.isRaised && !fixture.start())
        let report = try #require(fixture.report())
        #expect(report.vcpu == 0 && report.reason == .step(count: 1) && report.measured == nil)
        #expect(!fixture.isRaised && !fixture.coordinator.isRunning && fixture.report() == nil)
        #expect(fixture.start())
    }

    @Test func theFirstReasonCountsAndTheOthersAreKicked() throws {
        let fixture = try Fixture(3)
        #expect(fixture.start())
        fixture.coordinator.stopAll(.hlt, by: 1)
        #expect(fixture.coordinator.isStopping && fixture.kicked == [0, 2])
        // The user comes too late, and so does another vCPU's reason.
        fixture.coordinator.stopAll(.interrupted)
        #expect(fixture.kicked == [0, 2])
        fixture.coordinator.isBack(1, reason: .hlt, isParked: false)
        fixture.coordinator.isBack(2, reason: .tripleFault, isParked: false)
        fixture.coordinator.isBack(0, reason: nil, isParked: true)
        let report = try #require(fixture.report())
        #expect(report.vcpu == 1 && report.reason == .hlt)
    }

    @Test func askedByTheUserAllAreKicked() throws {
        let fixture = try Fixture(2)
        #expect(fixture.start())
        fixture.coordinator.stopAll(.interrupted)
        #expect(fixture.kicked == [0, 1])
        for id in 0..<2 { fixture.coordinator.isBack(id, reason: nil, isParked: false) }
        #expect(fixture.report()?.reason == .interrupted)
    }

    @Test func stoppingWhatDoesNotRunIsNothing() throws {
        let fixture = try Fixture(2)
        fixture.coordinator.stopAll(.interrupted)
        #expect(!fixture.coordinator.isStopping && fixture.kicked.isEmpty)
        #expect(fixture.start())
        for id in 0..<2 { fixture.coordinator.isBack(id, reason: .hlt, isParked: false) }
        // All are back, the report is waiting: it stays as it is.
        fixture.coordinator.stopAll(.interrupted)
        #expect(fixture.report()?.reason == .hlt && fixture.kicked.isEmpty)
        // Nothing of it is left for the next run.
        #expect(fixture.start() && !fixture.coordinator.isStopping)
    }

    @Test func whereAllAreParkedTheLastOneIsReported() throws {
        let fixture = try Fixture(3)
        #expect(fixture.start())
        for id in [2, 0, 1] { fixture.coordinator.isBack(id, reason: nil, isParked: true) }
        let report = try #require(fixture.report())
        #expect(report.vcpu == 1 && report.reason == .hlt)
    }

    @Test func aRunOfOneCarriesWhatItCameTo() throws {
        let fixture = try Fixture(1)
        #expect(fixture.start() && fixture.coordinator.isAlone)
        let measured = StopReport.Measured(exits: 3, time: 70)
        fixture.coordinator.isBackAlone(0, reason: .step(count: 1), measured)
        let report = try #require(fixture.report())
        #expect(
            report.reason == .step(count: 1) && report.measured?.exits == 3 && report.measured?.time == 70)

        // The user was first: his reason, once.
        #expect(fixture.start())
        fixture.coordinator.stopAll(.interrupted)
        fixture.coordinator.isBackAlone(0, reason: .step(count: 1), measured)
        #expect(fixture.report()?.reason == .interrupted && fixture.report() == nil)
    }

    @Test func whoWaitsIsWokenByTheLastOne() throws {
        let fixture = try Fixture(2)
        #expect(fixture.start())
        let coordinator = fixture.coordinator
        // A thread of its own: Swift's pool has one for each processor, and this test waits on one of those.
        let done = DispatchSemaphore(value: 0)
        DispatchQueue(label: "a vCPU's thread").async {
            for id in 0..<2 { coordinator.isBack(id, reason: id == 0 ? .tripleFault : nil, isParked: false) }
            done.signal()
        }
        #expect(coordinator.wait(until: nil)?.reason == .tripleFault)
        done.wait()
    }
}
