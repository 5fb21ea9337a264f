import Commands
import DebugTarget
import Glibc
import KVMCore
import Monitor
import SystemPackage
import Terminal

/// `kvmscope top` without a screen: samples, and prints each in one form.
struct TopStream {
    enum Form: Equatable {
        case tables
        /// It is fetched over HTTP.
        case silent
        case log(KVMStatLog.Form)
        case prometheus(String)
        case openMetrics
    }

    let monitor: Monitor
    let signals: SignalPipe
    let output: Output
    let form: Form
    /// Of the only guest.
    let process: Int32?
    let filter: String?
    /// Seconds.
    let delay: Double
    /// How many intervals; nil until a signal ends it.
    let count: Int?
    var server: MetricsServer?
    /// With a server it ends once the interval was fetched.
    var isOnce = false
    /// Where there is one, RIPs are counted.
    var symbolizer: HostReport.Symbolizer?

    /// - Returns: the program's status.
    func run() throws -> Int32 {
        let filter = try filter.map { try ReasonFilter($0) }
        var log: KVMStatLog?
        if case .log(let form) = form { log = KVMStatLog(form, process: process) }
        var totals = MonitorTotals()
        if symbolizer != nil {
            do {
                try monitor.source.countInstructionPointers(true)
            } catch {
                tell("no RIPs: \(error)")
            }
        }
        try monitor.begin()
        var done = 0
        var next = monotonicTime() + interval
        while count.map({ done < $0 }) ?? true {
            if let signal = wait(until: next) {
                // What ends a stream is no failure of it.
                return signal == SIGINT ? 0 : status(ofSignal: signal)
            }
            // One that came late does not make the next ones come sooner.
            next = max(next + interval, monotonicTime())
            let sample = try monitor.sample()
            let report = HostReport(
                sample, names: monitor.source.names, badge: monitor.source.badge, filter: filter?.accepts,
                symbolizer: symbolizer)
            totals.add(sample)
            server?.publish(
                MetricsServer.Page(
                    totals: totals, names: monitor.source.names, badge: monitor.source.badge))
            try show(report, totals, &log)
            done += 1
        }
        while isOnce, let server, server.served == 0 {
            if let signal = wait(until: monotonicTime() + 20_000_000) {
                return signal == SIGINT ? 0 : status(ofSignal: signal)
            }
        }
        return 0
    }

    private var interval: UInt64 { UInt64(delay * 1e9) }

    private func show(_ report: HostReport, _ totals: MonitorTotals, _ log: inout KVMStatLog?) throws {
        switch form {
        case .silent: break
        case .tables: output.show(TopOutput(report, process: process), of: "top")
        case .log:
            let lines = log?.lines(report, time: Self.localTime(report.sample.wallTime)) ?? []
            output.sink(lines.map { $0 + "\n" }.joined(), .standardOutput)
        case .openMetrics: output.sink(metrics(totals, .openMetrics), .standardOutput)
        case .prometheus(let path): try WholeFile.write(metrics(totals, .prometheus), to: path)
        }
    }

    private func metrics(_ totals: MonitorTotals, _ form: Metrics.Form) -> String {
        Metrics.text(totals, names: monitor.source.names, badge: monitor.source.badge, form: form)
    }

    /// - Returns: a signal that came before the time was over.
    private func wait(until time: UInt64) -> Int32? {
        while true {
            if let signal = signals.next() { return signal }
            let now = monotonicTime()
            guard now < time else { return nil }
            var entry = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, Int32(clamping: (time - now + 999_999) / 1_000_000))
        }
    }

    /// As kvm_stat writes it: `2026-11-29 19:52:00`.
    static func localTime(_ seconds: Double) -> String {
        var time = time_t(seconds)
        var parts = tm()
        localtime_r(&time, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}

/// Files that readers see whole, the old one or the new one.
enum WholeFile {
    static func write(_ text: String, to path: String) throws {
        try write(to: path) { _ = try $0.writeAll(text.utf8) }
    }

    /// - Parameter body: writes what is in it.
    static func write(to path: String, _ body: (FileDescriptor) throws -> Void) throws {
        let temporary = FilePath("\(path).\(getpid())")
        do {
            let file = try FileDescriptor.open(
                temporary, .writeOnly, options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter { try body(file) }
            guard rename(temporary.string, path) == 0 else { throw Errno(rawValue: errno) }
        } catch let error as MonitorError {
            unlink(temporary.string)
            throw error
        } catch {
            unlink(temporary.string)
            throw MonitorError(
                "cannot write \(path): \(error)", remedy: "its folder has to exist and be writable")
        }
    }
}
