import ArgumentParser
import Attach
import Commands
import Debugger
import Glibc
import SystemPackage
import Terminal

/// `kvmscope attach`: the debugger on a guest that another program runs.
struct AttachCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope attach",
        abstract: "Debug a guest that another program runs.",
        discussion: """
            The guest goes on running, and its VMM (QEMU, Firecracker, cloud-hypervisor, kvmtool or any other) does \
            not notice: `stop` makes the guest stand still, `continue` lets it go, and quitting puts everything back. \
            Without a terminal and without commands its registers are printed.
            """)

    @Argument(help: "The VMM's process id, the guest's name, or a part that only one name has.")
    var guest: String

    @OptionGroup var frontEnd: FrontEndOptions

    func run() throws {
        let session: Session
        let signals: SignalPipe
        do {
            signals = try SignalPipe([SIGINT, SIGTERM, SIGHUP])
            let found = try GuestFinder().guests().guest(matching: guest)
            let debugger = try Debugger(target: try AttachedTarget(found))
            // The guest runs, and is to be seen running.
            try debugger.startContinue()
            session = Session(debugger: debugger)
        } catch {
            write("kvmscope: \(error)\n", to: .standardError)
            throw ExitCode(2)
        }
        let front = FrontEnd(options: frontEnd, session: session, signals: signals)
        let status = front.run { output in
            let batch = BatchFrontEnd(session: session, output: output, signals: signals)
            return BatchFrontEnd.status(batch.run([.line("info vcpus"), .line("info registers")]))
        }
        guard status == 0 else { throw ExitCode(status) }
    }
}
