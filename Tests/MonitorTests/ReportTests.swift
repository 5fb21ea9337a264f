import Host
import RecordedHosts
import Testing

@testable import Monitor

@Suite struct ReportTests {
    /// Two guests over two seconds.
    private func sample(_ host: RecordedHost) throws -> HostReport {
        host.add(100, "web", vcpus: 2)
        host.add(200, "db")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass(seconds: 2)
        host.count(.vmx(101, 12), 10, each: 5_000_000)
        host.count(.vmx(101, 30), 30, each: 2000)
        host.count(.vmx(102, 48), 20, each: 1000)
        host.count(CounterKey(101, .userspaceExit, 2), 30, each: 1500)
        host.count(CounterKey(101, .port, CounterKey.write | 0x3F8), 25)
        host.count(CounterKey(101, .port, 0x3FD), 5)
        host.count(CounterKey(102, .pageFault, 0x1234), 20)
        host.count(CounterKey(102, .interrupt, 0x31), 8)
        host.count(CounterKey(102, .halt, 0), 3, each: 100)
        host.count(CounterKey(102, .halt, 1), 1, each: 100_000)
        host.count(CounterKey(201, .userspaceExit, 6), 4)
        host.count(CounterKey(201, .emulation, 6), 4, each: 600)
        host.lastExits = [101: 2]
        return HostReport(try monitor.sample(), names: host.names, badge: host.badge)
    }

    @Test func guests() throws {
        let guests = try sample(RecordedHost()).guests
        #expect(guests.map(\.name) == ["web", "db"])
        #expect(guests.map(\.exitsPerSecond) == [30, 2])
        // Where no kvm_exit fires for a guest, its returns of KVM_RUN are counted.
        #expect(guests.map(\.level) == [.hardware, .userspace])
        #expect(guests.map(\.interruptsPerSecond) == [4, 0])
    }

    @Test func vcpus() throws {
        let report = try sample(RecordedHost())
        let vcpus = report.vcpus(of: 100)
        #expect(vcpus.map(\.id) == [0, 1])
        #expect(vcpus.map(\.exitsPerSecond) == [20, 10])
        #expect(vcpus[0].topReasons == ["IO_INSTRUCTION", "HLT"])
        #expect(vcpus.map(\.lastExit) == ["IO", nil])
        #expect(vcpus.map(\.polledShare) == [nil, 0.75])
        #expect(report.vcpus(of: 999) == [])
    }

    @Test func reasons() throws {
        let report = try sample(RecordedHost())
        let rows = report.reasons(Selection(process: 100))
        #expect(rows.map(\.name) == ["IO_INSTRUCTION", "EPT_VIOLATION", "HLT", "IO"])
        #expect(rows.map(\.key.level) == [.hardware, .hardware, .hardware, .userspace])
        #expect(rows.map(\.count) == [30, 20, 10, 30])
        #expect(rows.map(\.isWaiting) == [false, false, true, false])
        #expect(rows[0].share == 0.5)
        #expect(rows[0].rate == 15)
        #expect(rows[0].mean == 2000)
        #expect(rows[0].maximum == 2000)
        #expect(rows[0].timing == .exitToEntry)
        #expect(rows[3].timing == .returnToEntry)
        #expect(rows[0].key.kvmStatName(report.names) == "kvm_exit(IO_INSTRUCTION)")
        #expect(report.reasons(Selection(process: 100, thread: 102)).map(\.name) == ["EPT_VIOLATION"])
        // By the access's emulation, and labelled so.
        let mmio = report.reasons(Selection(process: 200))
        #expect(mmio.map(\.timing) == [.emulationToReturn])
        #expect(mmio.map(\.mean) == [600])
        #expect(report.reasons(Selection()).count == 5)
    }

    @Test func details() throws {
        let report = try sample(RecordedHost())
        let io = ReasonKey(.userspace, 2)
        #expect(
            report.details(Selection(process: 100, reason: io)).map(\.name) == [
                "port 0x3f8 out", "port 0x3fd in",
            ])
        #expect(
            report.details(Selection(process: 100, reason: ReasonKey(.hardware, 1 << 32 | 48))).map(\.name)
                == ["page fault 0x1234000"])
        #expect(report.details(Selection(process: 200)) == [])
        #expect(report.details(Selection(process: 100)).first?.rate == 12.5)
    }

    @Test func ripsBelongToTheirReason() throws {
        let host = RecordedHost()
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        for (reason, rip, count) in [(12, 0x10, 1), (30, 0x20, 2), (30, 0x30, 3)]
            as [(UInt32, UInt64, UInt64)]
        {
            host.count(
                CounterKey(
                    thread: 101, tag: CounterKind.instructionPointer.rawValue | reason << 8, code: rip),
                count)
        }
        let report = HostReport(try monitor.sample(), names: host.names, badge: host.badge)
        #expect(
            report.details(Selection(reason: ReasonKey(.hardware, 1 << 32 | 30))).map(\.name)
                == ["RIP 0x30", "RIP 0x20"])
        let named = HostReport(
            report.sample, names: host.names, badge: host.badge,
            symbolizer: HostReport.Symbolizer { $0 == 0x30 ? "outb+0x2" : nil })
        #expect(
            named.details(Selection(reason: ReasonKey(.hardware, 1 << 32 | 30))).map(\.name)
                == ["RIP 0x30 <outb+0x2>", "RIP 0x20"])
    }

    @Test func theFilterAppliesToRatesToo() throws {
        let report = try sample(RecordedHost())
        let filtered = HostReport(report.sample, names: report.names, badge: report.badge) {
            $0.contains("IO_INSTR")
        }
        #expect(filtered.reasons(Selection()).map(\.name) == ["IO_INSTRUCTION"])
        #expect(filtered.guests.map(\.exitsPerSecond) == [15, 0])
        #expect(filtered.exitsPerSecond(Selection(process: 100, thread: 102)) == 0)
        #expect(filtered.times(Selection()).total == 30)
    }

    @Test func theHeatMapLeavesWaitingOut() throws {
        let report = try sample(RecordedHost())
        // 30 and 20 exits that were handled, not the 10 HLTs; the emulated ones of the other guest.
        #expect(report.times(Selection(process: 100)).total == 50)
        #expect(report.times(Selection(process: 200)).total == 4)
        #expect(report.times(Selection(reason: ReasonKey(.hardware, 1 << 32 | 12))).total == 10)
    }

    @Test func whatIsNotKnownIsNeverZero() throws {
        let host = RecordedHost(way: .proc)
        let report = try sample(host)
        #expect(
            report.guests.allSatisfy {
                $0.exitsPerSecond == nil && $0.level == nil && $0.interruptsPerSecond == nil
            })
        host.listed[0].vcpus[1].thread = nil
        host.hidden = 3
        let blind = HostReport(
            MonitorSample(
                number: 0, start: 0, end: 1, wallTime: 0, guests: host.listed, cells: [], hiddenProcesses: 3),
            names: host.names, badge: SourceBadge(.bpf))
        #expect(blind.guests[0].share == HostReport.Shares())
        #expect(blind.vcpus(of: 100)[1].exitsPerSecond == nil)
        #expect(blind.missing.contains { $0.hasPrefix("1 vCPU: no thread is known") })
        #expect(blind.missing.contains { $0.hasPrefix("3 processes of other users") })
    }

    @Test func theKernelsCountersAreNotAddedToTheirSum() throws {
        let host = RecordedHost(way: .statistics)
        host.add(100, "web")
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        host.count(CounterKey(100, .kernelCounter, 0), 100)
        host.count(CounterKey(100, .kernelCounter, 1), 60)
        host.count(CounterKey(100, .kernelCounter, 12), 9)
        let report = HostReport(try monitor.sample(), names: host.names, badge: host.badge)
        #expect(report.guests[0].exitsPerSecond == 100)
        #expect(report.guests[0].interruptsPerSecond == 9)
        #expect(report.reasons(Selection()).map(\.name) == ["exits", "io_exits"])
        #expect(report.reasons(Selection()).map(\.share) == [1, 0.6])
        #expect(report.vcpus(of: 100)[0].exitsPerSecond == nil)
    }
}
