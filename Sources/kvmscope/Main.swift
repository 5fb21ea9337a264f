import ArgumentParser
import Commands
import DebugTarget
import Debugger
import Glibc
import KVMCore
import Machine
import SystemPackage
import Terminal

/// What `--version` and the header of a JSON stream say.
let programVersion = "0.1.0"

struct Program: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope",
        abstract: "A debugger and monitor for KVM guests in a terminal.",
        usage: """
            kvmscope [<options>] [<image>]
                   kvmscope <subcommand> [<options>] ...
            """,
        discussion: """
            With a terminal on standard output it opens the screen. Without one it does the commands of -x and \
            -ex or, if there are none, runs the guest to its end and prints a report.

            With --json the first line is {"kind":"header",…}, and each command gives one line: {"command":…,"ok":true,"result":{…}} or \
            {"command":…,"error":{"message":…,"column":…},"ok":false}. Addresses, registers and memory are \
            strings such as "0x7c00"; counts and times (…Nanoseconds) are numbers. \
            A command that resumes the guest gives its line when the guest stops; one with `&` gives a line at once \
            and, if nothing waited for the stop, {"kind":"event",…} then. On a standard input that is no terminal a line such \
            as {"id":1,"command":"step"} is answered with its id.

            `kvmscope list` shows the KVM guests of this host, `kvmscope top` watches why they exit and `kvmscope record` \
            keeps that in a file, `kvmscope attach PID|NAME` debugs one of them, and `kvmscope launch -- VMM ARGUMENTS` starts one under the debugger. \
            A subcommand is the first word; `kvmscope help SUBCOMMAND` explains it. An image that has the name of one is \
            given as `./list`.

            `kvmscope --generate-completion-script bash|zsh|fish` prints what completes this command line in a shell; \
            `swift package generate-manual` in a checkout makes the manual page.

            Status: 0; 1 if a command failed; 2 if the guest could not be started; 64 for a bad command line.
            """,
        version: "kvmscope \(programVersion)",
        subcommands: [
            AttachCommand.self, LaunchCommand.self, ListCommand.self, TopCommand.self, RecordCommand.self,
            ReportCommand.self, ExportCommand.self, DAPCommand.self,
        ])

    @OptionGroup var image: ImageArgument
    @OptionGroup var options: Options

    mutating func validate() throws {
        options.image = image.image
        try options.check()
    }

    func run() throws {
        if let image = options.image { try Self.refuseSlip(image) }
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
            signals = try SignalPipe([SIGINT] + SignalPipe.ending)
            DebugFacilities.anticipate()
            session = Session(debugger: try Debugger(target: try options.machine()))
            session.guestArguments = options.guestArguments
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
        let status = FrontEnd(options: options.frontEnd, session: session, signals: signals).run { output in
            ReportFrontEnd(session: session, output: output, signals: signals).run()
        }
        guard status == 0 else { throw ExitCode(status) }
    }
}
