import CBench
import Commands
import Glibc
import Host
import Interface
import KVMCore
import Monitor
import RecordedHosts

/// What watching costs: the guest that is watched, and who watches.
func watchFigures(program: String, bench: String, count: Int, rounds: Int) throws -> [Figure] {
    var figures = try exitCostFigures(count: count, rounds: rounds)
    figures.append(try accountingFigure(rounds: rounds))
    figures += try refreshFigures(bench: bench)
    figures.append(try idleFigure(program))
    return figures
}

// MARK: What an exit costs

/// The bare C loop of OUTs, unwatched, watched by our programs and under perf record, in turns.
private func exitCostFigures(count: Int, rounds: Int) throws -> [Figure] {
    guard geteuid() == 0 else { throw BenchFailure("watching takes root") }
    let loop = try BareLoop(CBENCH_PORT_OUT)
    _ = try loop.run(count)
    var (bare, watched, recorded): ([Double], [Double], [Double]) = ([], [], [])
    var ratios: [Double] = []
    var parts: [Double] = []
    var program: [Double] = []
    let statistics = ProgramStatistics()
    func run() throws -> Double { try loop.run(count) / Double(count) }
    for _ in 0..<rounds {
        let before = try run()
        let source = try BPFSource()
        let start = statistics.sums()
        let ours = try run()
        let end = statistics.sums()
        withExtendedLifetime(source) {}
        let between = try run()
        let theirs = try PerfRecord.during { try run() }
        let after = try run()
        let base = (before + between + after) / 3
        bare.append(base)
        watched.append(ours)
        recorded.append(theirs)
        ratios.append(ours / ((before + between) / 2))
        parts.append(max(0, ours - (before + between) / 2) / max(1, theirs - (between + after) / 2))
        if let start, let end { program.append(Double(end - start) / Double(count)) }
    }
    let all: [(name: String, value: Double, unit: String)] = [
        ("unwatched", median(bare) / 1000, "us"), ("watched", median(watched) / 1000, "us"),
        ("perf record", median(recorded) / 1000, "us"),
    ]
    return [
        Figure(
            name: "an exit watched by BPF, to one unwatched", value: median(ratios), unit: "",
            line: .under(1.08),
            parts: all),
        Figure(
            name: "what BPF adds to an exit, to what perf record does", value: median(parts), unit: "",
            line: .under(1.0 / 3), parts: all),
        program.isEmpty
            ? Figure(
                name: "the BPF programs, an exit", value: .nan, unit: "us", line: .reported,
                parts: [("not told by this kernel", 0, "")])
            : Figure(
                name: "the BPF programs, an exit", value: median(program) / 1000, unit: "us",
                line: .under(0.5),
                parts: [("rounds", Double(program.count), "")]),
    ]
}

/// What the kernel says of the time that this process's programs took (kernel.bpf_stats_enabled), while this value lives.
private final class ProgramStatistics {
    private static let path = "/proc/sys/kernel/bpf_stats_enabled"
    private let before = fileText(ProgramStatistics.path)

    init() { Self.write("1") }

    deinit { Self.write(before.isEmpty ? "0" : before) }

    private static func write(_ text: String) {
        let file = open(path, O_WRONLY)
        guard file >= 0 else { return }
        _ = text.withCString { Glibc.write(file, $0, strlen($0)) }
        close(file)
    }

    /// Nanoseconds of all programs; nil where the kernel does not tell.
    func sums() -> UInt64? {
        var sum: UInt64 = 0
        var isTold = false
        for descriptor in 0..<256 {
            for line in fileText("/proc/self/fdinfo/\(descriptor)").split(separator: "\n")
            where line.hasPrefix("run_time_ns:") {
                isTold = true
                sum &+= line.split(separator: "\t").last.flatMap { UInt64($0) } ?? 0
            }
        }
        return isTold ? sum : nil
    }
}

/// `perf record -a -e kvm:*`, its records thrown away.
private enum PerfRecord {
    static func during(_ work: () throws -> Double) throws -> Double {
        let folder = "/tmp/kvmscope-bench-\(getpid())"
        mkdir(folder, 0o700)
        let (control, answer) = ("\(folder)/control", "\(folder)/answer")
        defer {
            unlink(control)
            unlink(answer)
            rmdir(folder)
        }
        guard mkfifo(control, 0o600) == 0, mkfifo(answer, 0o600) == 0 else {
            throw BenchFailure("\(folder) cannot be written")
        }
        let perf = try WholeProgram(
            "/usr/bin/perf",
            [
                "record", "-q", "-a", "-e", "kvm:*", "-D", "-1", "--control", "fifo:\(control),\(answer)",
                "-o",
                "/dev/null",
            ], columns: 80, rows: 24)
        let (order, told) = (open(control, O_RDWR | O_CLOEXEC), open(answer, O_RDWR | O_CLOEXEC))
        defer {
            close(order)
            close(told)
        }
        _ = "enable\n".withCString { write(order, $0, strlen($0)) }
        var entry = pollfd(fd: told, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 20_000) == 1 else { throw BenchFailure("perf record does not begin") }
        let result = try work()
        withExtendedLifetime(perf.pid) {}
        return result
    }
}

// MARK: Recordings

/// A recording in memory, read and accounted.
private func accountingFigure(rounds: Int) throws -> Figure {
    var bytes: [UInt8] = []
    let count = 1_000_000
    var writer = try RecordingWriter(
        Recording.Start(wallTime: 0, time: 1, kernel: "", formats: [:], missing: []), sink: { bytes += $0 })
    var time: UInt64 = 1
    for number in 0..<count {
        time += UInt64(400 + number % 37)
        let thread = Int32(1000 + number / 64 % 16)
        let content: ExitEvent.Content =
            switch number % 4 {
            case 0: .exit(code: 1 << 32 | UInt64([30, 12, 48, 32][number / 4 % 4]), instructionPointer: nil)
            case 1:
                .count(
                    kind: .port, code: CounterKey.write | UInt64(0x3F8 + number / 4 % 8), emulation: .begins)
            case 2: .userspaceExit(code: 2)
            default: .entry
            }
        try writer.add(ExitEvent(time: time, thread: thread, content))
    }
    try writer.end(at: time)
    var rates: [Double] = []
    for _ in 0..<max(3, rounds) {
        var at = 0
        let nanoseconds = try timed {
            let run = try RecordedRun(
                try RecordingReader(source: { wanted in
                    let part = Array(bytes[at..<min(at + wanted, bytes.count)])
                    at += part.count
                    return part
                }))
            guard run.eventCount == UInt64(count), run.sample.cells.count > 100 else {
                throw BenchFailure("a recording of \(count) events gave \(run.eventCount)")
            }
        }
        rates.append(Double(count) / nanoseconds * 1000)
    }
    return Figure(
        name: "records accounted from a recording", value: median(rates), unit: "M/s", line: .atLeast(5),
        parts: [("bytes a record", Double(bytes.count) / Double(count), "")])
}

// MARK: Refresh

/// A host of 100 guests with 4 vCPUs, all of them busy: a sample, its tables and the screen at 200x60. Measured by a child
/// of this program, whose memory is looked at, too.
private func refreshFigures(bench: String) throws -> [Figure] {
    let report = "/tmp/kvmscope-bench-\(getpid())-watch"
    defer { unlink(report) }
    let child = try WholeProgram(bench, ["--refresh", "--draw-report", report], columns: 200, rows: 60)
    let end = cbench_now() + 300_000_000_000
    while fileText(report).isEmpty, cbench_now() < end { usleep(100_000) }
    let numbers = fileText(report).split(separator: " ").compactMap { Double($0) }
    withExtendedLifetime(child.pid) {}
    guard numbers.count == 4 else { throw BenchFailure("the refreshing child gave no figures") }
    return [
        Figure(
            name: "refresh with 100 guests of 4 vCPUs", value: numbers[0] + numbers[1] + numbers[2],
            unit: "ms",
            line: .under(10),
            parts: [("sample", numbers[0], "ms"), ("tables", numbers[1], "ms"), ("view", numbers[2], "ms")]),
        Figure(
            name: "memory at 400 vCPUs, 10 minutes kept", value: numbers[3], unit: "MiB", line: .under(64),
            parts: []),
    ]
}

/// What the child does: ten minutes of the host, one refresh a second of it.
func refreshHost(report: String) throws {
    let host = RecordedHost()
    for guest in 0..<100 as Range<Int32> { host.add(10_000 + guest * 10, "guest-\(guest)", vcpus: 4) }
    let keys = host.listed.flatMap { guest in
        guest.threads.flatMap { thread in
            (0..<16).map { CounterKey.vmx(thread, UInt64($0)) }
                + (0..<4).map { CounterKey(thread, .port, CounterKey.write | UInt64(0x3F8 + $0)) }
        }
    }
    let monitor = Monitor(source: host, directory: host)
    try monitor.begin()
    var model = WatchModel(size: Size(width: 200, height: 60), names: host.names, badge: host.badge)
    var (samples, tables, views): ([Double], [Double], [Double]) = ([], [], [])
    for round in 0..<SampleHistory.capacity {
        host.pass()
        for (number, key) in keys.enumerated() {
            var counter = host.counters[key] ?? Counter()
            counter.count += 100
            if key.kind?.isTimed == true {
                for step in 0..<3 { counter.record(UInt64(500 << step + (number + round) % 900)) }
            }
            host.counters[key] = counter
        }
        var sample: MonitorSample?
        samples.append(try timed { sample = try monitor.sample() })
        guard let sample else { throw BenchFailure("no sample was taken") }
        tables.append(timed { _ = model.update(.sample(sample)) })
        var rows = 0
        views.append(timed { rows = model.view().size.height })
        guard rows == 60, sample.cells.count == keys.count else {
            throw BenchFailure("a refresh lacks something")
        }
    }
    // The host that is made up is not the monitor's: its counters are some half of KiB each.
    let pages = fileText("/proc/self/statm").split(separator: " ").compactMap { Double($0) }
    let own = pages.count > 1 ? pages[1] * 4096 / 1_048_576 : .nan
    let line = ([samples, tables, views].map { median($0) / 1e6 } + [own]).map(decimal).joined(separator: " ")
    let file = open(report, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { throw BenchFailure("\(report) cannot be written") }
    defer { close(file) }
    _ = line.withCString { write(file, $0, strlen($0)) }
}

// MARK: The screen at rest

/// `kvmscope top` on a terminal, with one guest that makes exits all the time: the bare C loop's thread would be ours, so it
/// is another program's.
private func idleFigure(_ path: String) throws -> Figure {
    let guest = try ForeignGuest(
        String(path.dropLast("kvmscope".count)) + "TinyVMM", vcpus: 1, loops: false)
    let program = try WholeProgram(path, ["top"], columns: 120, rows: 40)
    // Somebody has to read what it draws.
    func drain(seconds: UInt64) {
        let end = cbench_now() + seconds * 1_000_000_000
        while cbench_now() < end { _ = program.drain(silence: 100) }
    }
    // Programs are loaded and guests looked for once: at the start, which is over by then.
    drain(seconds: 3)
    let before = (time: program.processorTime(), at: cbench_now())
    drain(seconds: 8)
    let used = Double(program.processorTime() - before.time) / Double(cbench_now() - before.at) * 100
    withExtendedLifetime(guest.pid) {}
    return Figure(
        name: "kvmscope top, one guest, once a second", value: used, unit: "% of a core", line: .under(1),
        parts: [("over", 8, "s")])
}
