import Foundation
import Monitor
import RecordedHosts
import Testing

@testable import Commands

@Suite struct WatchOutputTests {
    private func report(_ host: RecordedHost = .busy(), filter: ((String) -> Bool)? = nil) throws
        -> HostReport
    {
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.passBusily()
        return HostReport(try monitor.sample(), names: host.names, badge: host.badge, filter: filter)
    }

    private func totals(_ host: RecordedHost = .busy()) throws -> MonitorTotals {
        let monitor = Monitor(source: host, directory: host)
        var totals = MonitorTotals()
        try monitor.begin()
        for step in 0..<2 as Range<UInt64> {
            host.passBusily(step)
            totals.add(try monitor.sample())
        }
        return totals
    }

    @Test func tables() throws {
        let lines = TopOutput(try report()).lines(width: 120).map(\.text)
        #expect(lines[0] == "source BPF, 1.0 s; nothing lost")
        let text = lines.joined(separator: "\n")
        #expect(text.contains("1200  web"))
        #expect(text.contains("kvm_exit(HLT) waiting"))
        #expect(text.contains("kvm_userspace_exit(IO)"))
        #expect(
            text.contains("at port 0x3f8 out 280, MSR 0x6e0 write 90, port 0x3fd in 20, interrupt 0x31 12"))
        // 300 exits that took 2 us each, of 555.
        let io = try #require(lines.first { $0.hasPrefix("kvm_exit(IO_INSTRUCTION)") })
        #expect(io.split(separator: " ").dropFirst().prefix(6) == ["300", "54", "300", "600", "us", "2.00"])
        // RAM that is not known is not 0, and an idle guest's exits are.
        let idle = try #require(lines.first { $0.contains(" idle ") })
        #expect(
            idle.split(separator: " ") == [
                "1400", "idle", "QEMU", "1", "-", "0", "0", "0", "0", "0", "100", "0",
            ])
        #expect(lines.allSatisfy { $0.columns <= 120 || $0.hasPrefix("at ") })
    }

    @Test func namesOfGuestsDriveNoTerminal() throws {
        let text = TopOutput(try report()).lines(width: 120).map(\.text).joined()
        #expect(text.contains(#"db "primary"\x1b[31m\x0a"#))
        #expect(!text.contains("\u{1B}"))
        let json = JSONRecord.line(command: "top", result: TopOutput(try report()))
        #expect(json.contains(#""name":"db \"primary\"\u001b[31m\n""#))
        let metrics = Metrics.text(
            try totals(), names: RecordedHost().names, badge: SourceBadge(.bpf), form: .prometheus)
        #expect(metrics.contains(#"guest="db \"primary\"\\x1b[31m\\x0a""#))
        #expect(!metrics.contains("\u{1B}"))
    }

    @Test func json() throws {
        let line = JSONRecord.line(command: "top", result: TopOutput(try report(), process: 1200))
        let record = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let result = try #require(record["result"] as? [String: Any])
        #expect(result["source"] as? String == "BPF")
        let guests = try #require(result["guests"] as? [[String: Any]])
        #expect(guests.count == 1)
        #expect(guests[0]["exitsPerSecond"] as? Double == 555)
        let reasons = try #require(guests[0]["reasons"] as? [[String: Any]])
        let io = try #require(reasons.first { $0["exit"] as? String == "IO_INSTRUCTION" })
        #expect(io["totalNanoseconds"] as? Int == 600_000)
        #expect(io["timing"] as? String == "exitToEntry")
        let histogram = try #require(io["histogram"] as? [[String: Int]])
        #expect(histogram == [["fromNanoseconds": 1024, "count": 300]])
    }

    @Test func kvmStatLines() throws {
        let host = RecordedHost.busy()
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        var csv = KVMStatLog(.csv, process: 1200)
        var text = KVMStatLog(.text, process: 1200)
        var csvLines: [String] = []
        var textLines: [String] = []
        for step in 0..<41 as Range<UInt64> {
            host.passBusily(step)
            if step == 5 { host.count(.vmx(1201, 10), 3, each: 10) }
            let report = HostReport(try monitor.sample(), names: host.names, badge: host.badge)
            csvLines += csv.lines(report, time: "2026-01-01 00:00:00")
            textLines += text.lines(report, time: "2026-01-01 00:00:00")
        }
        #expect(
            csvLines[0]
                == "timestamp,kvm_exit(IO_INSTRUCTION),kvm_exit(EPT_VIOLATION),kvm_exit(MSR_WRITE),kvm_exit(HLT),"
                + "kvm_exit(EXTERNAL_INTERRUPT),kvm_userspace_exit(IO)")
        #expect(csvLines[1] == "2026-01-01 00:00:00,300,120,90,40,5,300")
        #expect(csvLines[2] == "2026-01-01 00:00:00,310,120,90,40,5,300")
        #expect(csvLines.count == 42)
        // What had no column is told.
        #expect(csv.uncounted == 3)
        // A heading every 20 lines.
        #expect(textLines.count == 41 + 3)
        #expect(
            textLines[1] == "2026-01-01 00:00:00       300       120        90        40         5       300")
        #expect(textLines[21] == textLines[0])
        #expect(KVMStatLog.csvField(#"a,"b""#) == #""a,""b""""#)
    }

    @Test func prometheus() throws {
        let names = RecordedHost().names
        let text = Metrics.text(try totals(), names: names, badge: SourceBadge(.bpf), form: .prometheus)
        #expect(text.hasSuffix("\n"))
        #expect(!text.contains("# EOF"))
        #expect(!text.contains("# UNIT"))
        #expect(text.contains("# TYPE kvmscope_exits_total counter\n"))
        #expect(text.contains("# TYPE kvmscope_guest_info gauge\n"))
        #expect(
            text.contains(
                #"kvmscope_exits_total{guest="web",pid="1200",vcpu="0",level="hardware",reason="IO_INSTRUCTION"} 610"#
                    + "\n"))
        #expect(text.contains(#"kvmscope_guest_memory_bytes{guest="web",pid="1200"} 4294967296"#))
        // What is not known has no sample.
        #expect(!text.contains(#"kvmscope_guest_memory_bytes{guest="idle""#))
        #expect(
            text.contains(
                #"kvmscope_vcpu_time_seconds_total{guest="web",pid="1200",vcpu="0",mode="guest"} 1.2"#))
        let io = #"{guest="web",pid="1200",level="hardware",reason="IO_INSTRUCTION",timing="exitToEntry""#
        #expect(text.contains("kvmscope_exit_time_seconds_bucket\(io),le=\"1.024e-06\"} 0\n"))
        #expect(text.contains("kvmscope_exit_time_seconds_bucket\(io),le=\"2.048e-06\"} 610\n"))
        #expect(text.contains("kvmscope_exit_time_seconds_bucket\(io),le=\"+Inf\"} 610\n"))
        #expect(text.contains("kvmscope_exit_time_seconds_count\(io)} 610\n"))
        #expect(text.contains(#"timing="emulationToReturn",le="+Inf"} 50"#))
        // No sample stands twice.
        let samples = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
            $0[..<($0.lastIndex(of: " ") ?? $0.endIndex)]
        }
        #expect(Set(samples).count == samples.count)
    }

    @Test func openMetrics() throws {
        let text = Metrics.text(
            try totals(), names: RecordedHost().names, badge: SourceBadge(.bpf), form: .openMetrics)
        #expect(text.hasSuffix("\n# EOF\n"))
        #expect(text.contains("# TYPE kvmscope_exits counter\n"))
        #expect(text.contains("# UNIT kvmscope_exit_time_seconds seconds\n"))
        #expect(text.contains("# TYPE kvmscope_guest info\n"))
        #expect(text.contains("\nkvmscope_exits_total{"))
    }

    private static let dashboard = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "examples/grafana-dashboard.json")

    /// Each metric and label that the example asks for is one that is written.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: dashboard.path)))
    func theDashboardAsksForWhatThereIs() throws {
        let data = try Data(contentsOf: Self.dashboard)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let panels = try #require(object["panels"] as? [[String: Any]])
        let queries = panels.flatMap { panel in
            (panel["targets"] as? [[String: Any]] ?? []).compactMap { $0["expr"] as? String }
        }
        #expect(queries.count >= 8)
        let text = Metrics.text(
            try totals(), names: RecordedHost().names, badge: SourceBadge(.bpf), form: .prometheus)
        for query in queries {
            let metric = try #require(try query.firstMatch(of: Regex("kvmscope_[a-z_]+"))).output[0].substring
            #expect(text.contains("\n\(try #require(metric))"), "\(query)")
            for label in query.matches(of: try Regex("([a-z]+)(=~|!~|=|!=)\"")) {
                let name = try #require(label.output[1].substring)
                #expect(text.contains("\(name)=\""), "\(query)")
            }
        }
    }

    @Test func totalsGoWithTheirGuest() throws {
        let host = RecordedHost.busy()
        let monitor = Monitor(source: host, directory: host)
        var totals = MonitorTotals()
        try monitor.begin()
        host.passBusily()
        totals.add(try monitor.sample())
        #expect(totals.guests.count == 3)
        host.listed.removeFirst()
        // Another guest in the process of one that has ended.
        host.listed[0].name = "other"
        host.pass(seconds: 6)
        host.count(CounterKey(1301, .userspaceExit, 6), 2)
        totals.add(try monitor.sample())
        #expect(totals.guests.keys.sorted() == [1300, 1400])
        #expect(totals.guests[1300]?.reasons[ReasonKey(.userspace, 6)]?.count == 2)
    }

    @Test func aFilterThatIsNoneIsRefused() {
        #expect(throws: MonitorError.self) { try ReasonFilter("(") }
        #expect(throws: Never.self) {
            let filter = try ReasonFilter("^kvm_exit.(HLT|IO)")
            #expect(filter.accepts("kvm_exit(HLT)"))
            #expect(!filter.accepts("kvm_userspace_exit(IO)"))
        }
    }
}
