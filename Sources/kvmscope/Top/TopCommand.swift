import ArgumentParser
import Commands
import Glibc
import Monitor
import Terminal

/// `kvmscope top`: why the guests of this host exit, how often, and for how long.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch the KVM guests of this host: exits by reason, how often and for how long.",
        discussion: """
            No guest is stopped. With a terminal it opens a screen; without one, or with --once, it prints one interval. \
            Counts come from BPF programs on KVM's tracepoints, else from perf's rings, a trace buffer of its own in tracefs, the kernel's counters in debugfs, \
            statistics descriptors that VMMs hold open, or /proc; which it is, and what is lost by that, is always said. What cannot be known is `-`.

            Times of exits go from the exit to the next entry; those of returns to userspace from there to the next entry. \
            Where KVM emulates the guest and no kvm_exit fires, they go from the access to the return, and are named so. \
            Percentiles are known to a power of two; from perf's rings and from tracefs to one percent.

            Status: 0; 2 if the guest is not there or it cannot be watched; 64 for a bad command line.
            """)

    @Argument(help: ArgumentHelp("Only this guest: a process id or a name.", valueName: "guest"))
    var guest: String?

    @Option(
        name: [.customShort("p"), .customLong("pid")],
        help: ArgumentHelp("The same as the argument, as top and htop have it.", valueName: "guest"))
    var process: String?

    @Flag(help: "Print one interval and end.")
    var once = false

    @Flag(help: "One JSON object a line for each interval.")
    var json = false

    @Flag(
        name: [.customShort("b"), .long],
        help: "Lines of counts for each interval, as `kvm_stat -l` has them.")
    var batch = false

    @Flag(help: "The same with commas: a heading with `timestamp` and the reasons, then counts.")
    var csv = false

    @Option(
        help: ArgumentHelp(
            "Write Prometheus' text format to a file for its textfile collector, whole or not at all.",
            valueName: "file"), completion: .file())
    var prometheus: String?

    @Option(
        help: ArgumentHelp(
            "Serve /metrics over HTTP, in Prometheus' text format or OpenMetrics', as it is asked for. Without HOST it "
                + "is this machine's own address, 127.0.0.1; port 0 is a free one.", valueName: "[host:]port")
    )
    var listen: ListenAddress?

    @Flag(name: .customLong("openmetrics"), help: "OpenMetrics' text for each interval.")
    var openMetrics = false

    @Option(
        name: [.customShort("d"), .long],
        help: ArgumentHelp("How long an interval is; 0.1 to 3600 seconds.", valueName: "seconds"))
    var delay = 1.0

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("End after so many intervals.", valueName: "n"))
    var count: Int?

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp(
            "Count only reasons in whose names, as kvm_exit(HLT), this regular expression is found.",
            valueName: "regex"))
    var filter: String?

    @Option(
        help: ArgumentHelp(
            "Name the RIPs of guests by an ELF file or a map, such as System.map (repeatable); without a screen they "
                + "are counted then.", valueName: "file"), completion: .file())
    var symbols: [String] = []

    @Option(
        help:
            "Where counts come from, if not the best there is: bpf, perf, tracefs, debugfs, descriptors or proc."
    )
    var source: SourceChoice?

    @Option(help: "Colours: auto looks at the terminal and at NO_COLOR.")
    var color = ColorChoice.auto

    mutating func validate() throws {
        guard delay.isFinite, (0.1...3600).contains(delay) else {
            throw ValidationError("--delay is from 0.1 to 3600 seconds, not \(delay)")
        }
        if let process, let guest {
            throw ValidationError(
                "give the guest once, not both \(guest.printable) and --pid \(process.printable)")
        }
        if let count, count < 1 { throw ValidationError("--count is 1 or more, not \(count)") }
        if once, count != nil { throw ValidationError("--once is one interval: give it or --count") }
        let forms = [json, batch, csv, openMetrics, prometheus != nil].count { $0 }
        guard forms <= 1 else {
            throw ValidationError("give one of --json, --batch, --csv, --prometheus and --openmetrics")
        }
        if let filter {
            do {
                _ = try Regex(filter)
            } catch {
                throw ValidationError("--filter is no regular expression: \(error)")
            }
        }
    }

    func run() throws {
        do {
            let all = HostGuests()
            let process = try (guest ?? self.process).map { try all.guest(matching: $0).process }
            let monitor = Monitor(
                source: try BestSource.open(source.map { [$0.way] } ?? Set(SourceBadge.Way.allCases)),
                directory: HostGuests(only: process))
            let symbolizer = HostReport.Symbolizer(try RIPSymbols.load(symbols))
            let server = try listen.map { try MetricsServer($0) }
            if let server {
                tell("metrics are at http://\(server.address)/metrics")
                if let listen, !listen.isLoopback {
                    tell("whoever reaches \(server.address) can read them: names and exits of all guests")
                }
            }
            if isScreen {
                let screen = try TopScreen(
                    monitor: monitor, only: process, filter: filter.map { try ReasonFilter($0) },
                    delay: delay,
                    colours: color != .never, server: server, symbolizer: symbolizer)
                let status = screen.run(count: count)
                guard status == 0 else { throw ExitCode(status) }
                return
            }
            let signals = try SignalPipe([SIGINT] + SignalPipe.ending)
            let stream = TopStream(
                monitor: monitor, signals: signals, output: Output(json: json, color: color), form: form,
                process: process, filter: filter, delay: delay, count: intervals, server: server,
                isOnce: once, symbolizer: symbolizer)
            let status = try stream.run()
            guard status == 0 else { throw ExitCode(status) }
        } catch let error as ExitCode {
            throw error
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
    }

    private var isScreen: Bool {
        isTerminal(STDOUT_FILENO) && !once && !json && (form == .tables || form == .silent)
    }

    private var form: TopStream.Form {
        if let prometheus { return .prometheus(prometheus) }
        if batch { return .log(.text) }
        if csv { return .log(.csv) }
        if openMetrics { return .openMetrics }
        return listen != nil && !json ? .silent : .tables
    }

    /// Nil where it goes on until it is ended.
    private var intervals: Int? {
        if once { return 1 }
        if let count { return count }
        // Tables without a screen: one, as a stream of them is for nobody.
        let isStream = json || form != .tables
        return isStream ? nil : 1
    }
}

/// The ways that a user can ask for.
enum SourceChoice: String, ExpressibleByArgument, CaseIterable {
    case bpf, perf, tracefs, debugfs, descriptors, proc

    var way: SourceBadge.Way {
        switch self {
        case .bpf: .bpf
        case .perf: .perf
        case .tracefs: .tracefs
        case .debugfs: .statistics
        case .descriptors: .descriptors
        case .proc: .proc
        }
    }
}
