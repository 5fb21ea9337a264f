import ArgumentParser
import Commands
import Debugger
import Glibc
import KVMCore
import Machine
import SystemPackage
import Terminal

@main
struct Program: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope",
        abstract: "A debugger and monitor for KVM guests in a terminal.",
        discussion: """
            With a terminal on standard output it opens the screen. Without one it does the commands of -x and \
            -ex or, if there are none, runs the guest to its end and prints a report.

            With --json each command gives one line: {"command":…,"ok":true,"result":{…}} or \
            {"command":…,"error":{"message":…,"column":…},"ok":false}. Addresses, registers and memory are \
            strings such as "0x7c00"; counts and times (…Nanoseconds) are numbers. \
            A command that lets the guest go gives its line when the guest stops; one with `&` gives a line at once \
            and, if nothing waited for the stop, another one then.

            Status: 0; 1 if a command failed; 2 if the guest could not be started; 64 for a bad command line.
            """,
        version: "kvmscope 0.1.0")

    @OptionGroup var options: Options

    func run() throws {
        if options.commandReference {
            write(CommandTable.standard.reference, to: .standardOutput)
            return
        }
        if options.examples {
            let guests = ExampleGuest.all
            let width = guests.map(\.name.count).max() ?? 0
            for guest in guests {
                let gap = String(repeating: " ", count: width - guest.name.count + 2)
                write(guest.name + gap + guest.summary + "\n", to: .standardOutput)
            }
            return
        }
        let session: Session
        let signals: SignalPipe
        do {
            signals = try SignalPipe([SIGINT, SIGTERM, SIGHUP])
            session = Session(debugger: try Debugger(target: try options.machine()))
        } catch {
            write("kvmscope: \(error)\n", to: .standardError)
            throw ExitCode(2)
        }
        let status = runFrontEnd(session, signals)
        guard status == 0 else { throw ExitCode(status) }
    }

    private func runFrontEnd(_ session: Session, _ signals: SignalPipe) -> Int32 {
        let output = Output(json: options.json, color: options.color)
        let batch = BatchFrontEnd(session: session, output: output, signals: signals)
        let commands = options.startCommands(in: CommandLine.arguments.dropFirst())
        let isInteractive = isTerminal(STDOUT_FILENO) && !options.batch && !options.json

        if !isInteractive, !options.noTUI {
            guard !commands.isEmpty else {
                return ReportFrontEnd(session: session, output: output, signals: signals).run()
            }
            return BatchFrontEnd.status(batch.run(commands))
        }
        if isInteractive, !options.noTUI {
            do {
                return try ScreenFrontEnd(session: session, colours: options.color != .never).run(commands)
            } catch {
                write("kvmscope: \(error)\n", to: .standardError)
                return 2
            }
        }
        let end = batch.run(commands)
        // A console stays after a failed command, as its user is there; a batch does not.
        guard end == .done || (end == .failed && !options.batch) else { return BatchFrontEnd.status(end) }
        guard !options.batch else { return BatchFrontEnd.status(end) }
        return ConsoleFrontEnd(batch: batch).run()
    }
}
