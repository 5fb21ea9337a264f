import DebugTarget
import KVMCore
import Testing

@Suite struct ExitLogTests {
    private func out(_ port: UInt16) -> VCPUExit {
        .io(PortIO(direction: .out, port: port, size: 1, data: AccessData(value: 0x41, count: 1)))
    }

    private func write(_ gpa: UInt64) -> VCPUExit {
        .mmio(MMIO(gpa: gpa, isWrite: true, data: AccessData(value: 1, count: 4)))
    }

    @Test func countsByPortPageAndReason() {
        let log = ExitLog()
        let recorder = log.recorder(for: 0)
        var time: UInt64 = 1000
        // Handling takes 10, 20, 30 ...
        let exits = [out(0xE9), out(0xE9), write(0xFEE0_0300), write(0xFEE0_0FFF), write(0xFEE0_1000), .hlt]
        for (number, exit) in exits.enumerated() {
            recorder.entered(exit, start: time, end: time + 100)
            recorder.handled(at: time + 100 + UInt64(number + 1) * 10)
            time += 1000
        }
        let statistics = log.statistics(at: time)
        #expect(
            statistics.count(of: .io(port: 0xE9, direction: .out))
                == ExitCount(count: 2, handling: 30, maximumHandling: 20, guest: 200))
        #expect(statistics.count(of: .io(port: 0xE9, direction: .in)).count == 0)
        #expect(statistics.count(of: .mmio(page: 0xFEE0_0000, isWrite: true)).count == 2)
        #expect(statistics.count(of: .mmio(page: 0xFEE0_1000, isWrite: true)).count == 1)
        #expect(statistics.count(of: .reason(.hlt)).maximumHandling == 60)
        #expect(statistics.overall == ExitCount(count: 6, handling: 210, maximumHandling: 60, guest: 600))
        #expect(statistics.rows.first?.count.count == 2)
        #expect(log.total == 6)
    }

    /// Steps are counted, not kept; what the last exit was is known all the same.
    @Test func knowsTheLastExit() {
        let log = ExitLog()
        #expect(log.last(vcpu: 0) == nil)
        let recorder = log.recorder(for: 0)
        #expect(log.last(vcpu: 0) == nil)
        recorder.entered(out(0xE9), start: 0, end: 1)
        #expect(log.last(vcpu: 0) == .io(port: 0xE9, direction: .out))
        let step = DebugExit(exception: 1, pc: 0x7C00, dr6: 1 << 14, dr7: 0)
        recorder.entered(.debug(step), start: 2, end: 3)
        #expect(log.last(vcpu: 0) == .reason(.debug))
        #expect(log.recent().count == 1)
        recorder.entered(out(0xE9), start: 4, end: 5)
        recorder.passed(.debug(step), count: 10, guest: 10)
        #expect(log.last(vcpu: 0) == .reason(.debug))
        #expect(log.last(vcpu: 1) == nil)
        log.reset()
        #expect(log.last(vcpu: 0) == nil)
    }

    /// A user who thinks is not a slow handler.
    @Test func timeBehindTheHandOverIsNotCounted() {
        let log = ExitLog()
        let recorder = log.recorder(for: 3)
        recorder.entered(.hlt, start: 0, end: 10)
        #expect(log.recent().first?.handling == nil)
        recorder.handled(at: 15)
        recorder.handled(at: 1_000_000)
        #expect(log.statistics().overall.handling == 5)
        #expect(log.recent().map(\.handling) == [5])
    }

    @Test func keepsTheLastThousand() {
        let log = ExitLog()
        let recorder = log.recorder(for: 0)
        for number in 0..<2500 {
            let time = UInt64(number) * 10
            recorder.entered(out(UInt16(number)), start: time, end: time + 5)
            recorder.handled(at: time + 6)
        }
        let recent = log.recent()
        #expect(recent.count == ExitRecorder.capacity)
        #expect(recent.map(\.number) == Array(1500..<2500))
        #expect(recent.last?.key == .io(port: 2499, direction: .out))
        #expect(recent.allSatisfy { $0.handling == 1 && $0.guest == 5 })
        #expect(log.recent(limit: 3).map(\.number) == [2497, 2498, 2499])
    }

    /// The debugger's own steps are counted, and do not wash out the guest's exits.
    @Test func singleStepsAreNotKept() {
        let log = ExitLog()
        let recorder = log.recorder(for: 0)
        recorder.entered(out(1), start: 0, end: 1)
        for _ in 0..<5000 {
            recorder.entered(.debug(DebugExit(exception: 1, pc: 0, dr6: 1 << 14, dr7: 0)), start: 0, end: 1)
            recorder.handled(at: 2)
        }
        recorder.entered(.debug(DebugExit(exception: 1, pc: 0, dr6: 1, dr7: 0)), start: 0, end: 1)
        #expect(log.recent().count == 2)
        #expect(log.statistics().count(of: .reason(.debug)).count == 5001)
    }

    @Test func aGuestCannotFillMemoryWithPages() {
        let log = ExitLog()
        let recorder = log.recorder(for: 0)
        let pages = ExitRecorder.maximumKeys + 500
        for page in 0..<pages { recorder.entered(write(UInt64(page) << 12), start: 0, end: 1) }
        let statistics = log.statistics()
        #expect(statistics.rows.count == ExitRecorder.maximumKeys + 1)
        #expect(statistics.count(of: .overflow).count == 500)
        #expect(statistics.overall.count == UInt64(pages))
    }

    @Test func ratesAreOfTheTimeBetweenTwoSamples() {
        let log = ExitLog()
        let (first, second) = (log.recorder(for: 0), log.recorder(for: 1))
        let before = log.statistics(at: 1_000_000_000)
        for _ in 0..<30 { first.entered(out(1), start: 0, end: 1) }
        for _ in 0..<10 { second.entered(.hlt, start: 0, end: 1) }
        let after = log.statistics(at: 3_000_000_000)
        #expect(after.rate(since: before) == 20)
        #expect(after.rate(vcpu: 1, since: before) == 5)
        #expect(after.rate(of: .io(port: 1, direction: .out), since: before) == 15)
        #expect(after.rate(of: .reason(.hlt), vcpu: 0, since: before) == 0)
        #expect(after.rate(since: after) == 0)
        log.reset()
        first.entered(out(1), start: 0, end: 1)
        #expect(log.statistics(at: 4_000_000_000).rate(since: after) == 1)
        #expect(log.total == 41, "the total does not go back")
    }

    @Test(arguments: [
        (VCPUExit.writeMSR(MSRAccess(index: 0xC000_0080, data: 1, why: 2)), "MSR 0xc0000080 write"),
        (
            .mmio(MMIO(gpa: 0xF_FFFF_FFFF_F123, isWrite: false, data: AccessData(value: 0, count: 4))),
            "MMIO 0xffffffffff000 read"
        ),
        (.hlt, "HLT"), (.other(reason: 999, payload: []), "999"), (.shutdown, "SHUTDOWN"),
    ])
    func keysHaveNames(_ exit: VCPUExit, _ name: String) {
        #expect(ExitKey(exit).name == name)
    }
}
