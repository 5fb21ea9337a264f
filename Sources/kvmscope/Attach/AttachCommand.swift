import ArgumentParser
import Attach
import Commands
import Debugger
import Glibc
import Host
import SystemPackage
import Terminal

/// `kvmscope attach`: the debugger on a guest that another program runs.
struct AttachCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach",
        abstract: "Debug a guest that another program runs.",
        discussion: """
            The guest goes on running, and its VMM (QEMU, Firecracker, cloud-hypervisor, kvmtool or any other) does \
            not notice: `stop` stops the guest, `continue` resumes it, and quitting puts everything back. \
            Without a terminal and without commands its registers are printed.
            """)

    @Argument(
        help: "The VMM's process id, or the guest's whole name.",
        completion: .custom { _, _, _ in
            GuestFinder().guests().guests.flatMap { [$0.name, "\($0.process)"] }
        })
    var guest: String

    @Option(
        help: ArgumentHelp(
            "How long to wait for a guest whose threads are not to be seen before it runs, in seconds.",
            valueName: "seconds"))
    var wait = 5

    @OptionGroup var frontEnd: FrontEndOptions

    func validate() throws {
        guard (0...86400).contains(wait) else {
            throw ValidationError("--wait is from 0 to 86400 seconds, not \(wait)")
        }
    }

    /// The guest that is meant. Where the kernel cannot be asked, only a KVM_RUN says which thread runs a vCPU: then one
    /// that has not run yet is waited for.
    private func find(_ signals: SignalPipe) throws -> HostGuest {
        let end = ContinuousClock.now + .seconds(wait)
        let finder = GuestFinder()
        var found = try finder.guest(matching: guest)
        var isTold = false
        while found.obstacle?.code == .notRunning, ContinuousClock.now < end {
            if !isTold {
                isTold = true
                let reason = found.obstacle?.message ?? ""
                tell("\(reason); waiting \(wait) s, Ctrl-C ends it")
            }
            var ready = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&ready, 1, 50)
            if let signal = signals.next() { throw ExitCode(status(ofSignal: signal)) }
            guard let again = finder.guest(process: found.process) else {
                throw HostGuestError(.ended, "process \(found.process) has ended")
            }
            found = again
        }
        return found
    }

    func run() throws {
        let session: Session
        let signals: SignalPipe
        do {
            signals = try SignalPipe([SIGINT] + SignalPipe.ending)
            let tracer = try StartedTracer()
            let debugger = try Debugger(target: try AttachedTarget(try find(signals), tracer: tracer))
            // The guest runs, and is to be seen running.
            try debugger.startContinue()
            session = Session(debugger: debugger)
            session.guestArguments = ["attach", guest, "--wait", "\(wait)"]
            session.watchHostExits()
        } catch let code as ExitCode {
            throw code
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
        let status = FrontEnd(options: frontEnd, session: session, signals: signals, ownsGuest: false)
            .runShowingRegisters()
        guard status == 0 else { throw ExitCode(status) }
    }
}
