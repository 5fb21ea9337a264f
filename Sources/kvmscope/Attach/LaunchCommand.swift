import ArgumentParser
import Attach
import Commands
import Debugger
import Glibc
import SystemPackage
import Terminal

/// `kvmscope launch`: a VMM started under the debugger.
struct LaunchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "launch",
        abstract: "Start a VMM (QEMU or any other on KVM) and debug its guest from the first instruction.",
        usage: "kvmscope launch [<options>] -- <program> [<argument> ...]",
        discussion: """
            The guest is stopped at its first instruction; breakpoints on firmware, boot sector and what they load can be set \
            before any of it runs. The VMM runs at full speed, and needs no option for it.

            Its output goes to a file, which the console pane and `info console` show. The end of kvmscope ends the VMM as \
            pulling the plug does; `detach` before that leaves it running.
            """)

    @Option(
        help: ArgumentHelp(
            "The file that the VMM's standard output and error are added to. Default: one in $TMPDIR.",
            valueName: "file"), completion: .file())
    var output: String?

    @Option(
        help: ArgumentHelp(
            "The VMM's standard input: a file, or - for kvmscope's own.", valueName: "file"),
        completion: .file())
    var input = "/dev/null"

    @Option(
        help: ArgumentHelp(
            "How long to wait for the program to run a guest, in seconds; then it is ended. Default: as long as it runs.",
            valueName: "seconds"))
    var wait: Int?

    @OptionGroup var frontEnd: FrontEndOptions

    @Argument(parsing: .postTerminator, help: "The VMM and its arguments, after `--`.")
    var command: [String] = []

    func validate() throws {
        if let wait, !(0...86400).contains(wait) {
            throw ValidationError("--wait is from 0 to 86400 seconds, not \(wait)")
        }
        guard !command.isEmpty else {
            throw ValidationError(
                "say which VMM to start, after `--`: kvmscope launch -- qemu-system-x86_64 -accel kvm disk.img"
            )
        }
    }

    func run() throws {
        let session: Session
        let signals: SignalPipe
        do {
            signals = try SignalPipe([SIGINT] + SignalPipe.ending)
            let start = VMMStart(command: command, input: inputPath, output: output, limit: wait)
            let (vmm, target) = try start.run(signals)
            let debugger = try Debugger(target: target)
            session = Session(debugger: debugger)
            let options =
                (output.map { ["--output", absolutePath($0)] } ?? [])
                + (input == "-" ? [] : ["--input", absolutePath(input)])
            session.guestArguments = ["launch"] + options + ["--"] + command
            session.watchHostExits()
            if !frontEnd.json {
                tell(
                    "launched \(target.name); its output goes to \(vmm.output); quitting ends it, after `detach` it runs on"
                )
            }
        } catch let code as ExitCode {
            throw code
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
        let status = FrontEnd(options: frontEnd, session: session, signals: signals).runShowingRegisters()
        guard status == 0 else { throw ExitCode(status) }
    }

    /// A descriptor of ours has a path that another process can open.
    private var inputPath: String { input == "-" ? "/proc/\(getpid())/fd/0" : input }
}
