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
            let vmm = try LaunchedVMM(command, input: inputPath, output: try outputPath())
            try wait(for: vmm, signals)
            let target = try vmm.target()
            let debugger = try Debugger(target: target)
            session = Session(debugger: debugger)
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

    private func outputPath() throws -> String {
        if let output { return output }
        let folder = environmentValue("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        var template = Array("\(folder)/kvmscope-XXXXXX.log".utf8CString)
        let descriptor = mkstemps(&template, 4)
        guard descriptor >= 0 else {
            throw StartError(
                description: "no file for the VMM's output can be made in \(folder) "
                    + "(\(String(cString: strerror(errno)))); name one with --output")
        }
        close(descriptor)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Until the guest is about to run; what takes longer is told.
    private func wait(for vmm: LaunchedVMM, _ signals: SignalPipe) throws {
        let start = ContinuousClock.now
        var isTold = false
        while true {
            let progress = try vmm.progress()
            if progress == .ready { return }
            let waited = ContinuousClock.now - start
            let what =
                progress == .hasMachine
                ? "has a VM and does not run it yet (was it told to wait, as QEMU by -S?)"
                : "has not asked for a VM yet (does it use KVM, as QEMU by -accel kvm?)"
            if let wait, waited > .seconds(wait) {
                throw StartError(
                    description:
                        "`\(command[0])` \(what); it was ended after \(wait) s; its output is in \(vmm.output)"
                )
            }
            if !isTold, waited > .seconds(5) {
                isTold = true
                tell(
                    "`\(command[0])` \(what); waiting, Ctrl-C ends it; its output goes to \(vmm.output)")
            }
            var ready = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&ready, 1, 20)
            if let signal = signals.next() { throw ExitCode(status(ofSignal: signal)) }
        }
    }
}
