import ArgumentParser
import Commands
import Glibc
import Monitor
import SystemPackage

/// `kvmscope report`: what a recording has in it.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Show the exits of a recording: by guest, vCPU and reason, with times.",
        discussion: """
            The whole recording is shown as `kvmscope top --once` shows one interval. A recording whose recorder was killed is \
            read up to there, and that is said. p50 and p99 are right to one percent (of the first 1,024 threads and reasons; of \
            more, to a power of two).

            Status: 0; 1 if a part of it is damaged; 2 if it cannot be read; 64 for a bad command line.
            """)

    @Argument(help: "What `kvmscope record` wrote.", completion: .file())
    var file: String

    @Flag(help: "One JSON object.")
    var json = false

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp(
            "Count only reasons in whose names, as kvm_exit(HLT), this regular expression is found.",
            valueName: "regex"))
    var filter: String?

    @Option(
        help: ArgumentHelp(
            "Name the RIPs of guests by an ELF file or a map, such as System.map (repeatable).",
            valueName: "file"), completion: .file())
    var symbols: [String] = []

    @Option(help: "Colours: auto looks at the terminal and at NO_COLOR.")
    var color = ColorChoice.auto

    func run() throws {
        do {
            let filter = try filter.map { try ReasonFilter($0) }
            let recording = try RecordingFile(reading: file)
            let run = try RecordedRun(try recording.reader())
            Output(json: json, color: color).show(
                TopOutput(
                    HostReport(
                        run.sample, names: run.names, badge: run.badge, filter: filter?.accepts,
                        symbolizer: HostReport.Symbolizer(try RIPSymbols.load(symbols)))),
                of: "report")
            if !recording.explain(run.ending) { throw ExitCode(1) }
        } catch let error as ExitCode {
            throw error
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
    }
}

/// `kvmscope export`: a recording for other programs.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a recording for another program to show.",
        discussion: """
            --perfetto makes a trace for ui.perfetto.dev and trace_processor: a process for each guest, a track for each vCPU, \
            with slices of the time in the guest, in the kernel (by exit) and in the VMM, and the ports, pages and registers \
            that were touched. Where the host tells no VM exits, guest and VMM are one slice, named so.

            Status: 0; 1 if a part of the recording is damaged; 2 if it cannot be read or the file cannot be written; 64 for a \
            bad command line.
            """)

    @Argument(help: "What `kvmscope record` wrote.", completion: .file())
    var file: String

    @Option(
        help: ArgumentHelp("Perfetto's trace, whole or not at all.", valueName: "file"), completion: .file())
    var perfetto: String

    func run() throws {
        do {
            let recording = try RecordingFile(reading: file)
            let reader = try recording.reader()
            var ending = RecordingReader.Ending.whole
            try WholeFile.write(to: perfetto) { file in
                ending = try PerfettoTrace.write(reader) { bytes throws(MonitorError) in
                    do {
                        try file.writeAll(bytes)
                    } catch {
                        throw MonitorError("cannot write \(perfetto): \(error)")
                    }
                }
            }
            if !recording.explain(ending) { throw ExitCode(1) }
        } catch let error as ExitCode {
            throw error
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
    }
}
