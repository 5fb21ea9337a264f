import ArgumentParser
import Attach
import Commands
import DAP
import DebugTarget
import Debugger
import Glibc
import Host
import Machine
import Symbols
import SystemPackage
import Terminal

/// `kvmscope dap`: the debugger for an editor.
struct DAPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dap",
        abstract: "Serve an editor (VS Code, Neovim, Zed) by the Debug Adapter Protocol.",
        discussion: """
            The editor starts this and speaks to its standard input and output. A `launch` takes the arguments of \
            kvmscope's command line as a list, `"options": ["boot.img", "-m", "128M"]`, an `attach` the guest as \
            `"guest": "NAME"` or a process id. `"symbols": ["kernel.elf"]` loads symbols, `"stopOnEntry"` says whether the \
            guest is stopped at first. A `launch` with `"vmm": ["qemu-system-x86_64", "-accel", "kvm", ...]` starts that program \
            and debugs its guest from the first instruction; the end of the session ends it.
            """)

    func run() throws {
        let signals: SignalPipe
        do {
            signals = try SignalPipe([SIGINT] + SignalPipe.ending)
        } catch {
            tell(explained(error))
            throw ExitCode(2)
        }
        let status = DAPFrontEnd(signals: signals).run()
        guard status == 0 else { throw ExitCode(status) }
    }
}

/// The loop of an adapter: requests, stops and signals.
private final class DAPFrontEnd {
    private let signals: SignalPipe
    private let output: FileDescriptor
    private var tracer: StartedTracer?
    private var vmm: LaunchedVMM?

    /// While the guest runs it is looked at so often in any case.
    private static let look: Int32 = 100

    init(signals: SignalPipe) {
        self.signals = signals
        // Whatever else is printed must not stand between messages.
        output = (try? FileDescriptor.standardOutput.duplicate()) ?? .standardOutput
        dup2(STDERR_FILENO, STDOUT_FILENO)
    }

    /// - Returns: the program's status.
    func run() -> Int32 {
        let adapter = DebugAdapter(
            starter: { [unowned self] arguments, attaches throws(AdapterFailure) in
                try start(arguments, attaches)
            },
            send: { [output] bytes in
                // A client that is gone is seen at its end of the input.
                _ = try? output.writeAll(bytes)
            })
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while !adapter.isOver {
            if let signal = signals.next() {
                adapter.leave(ends: true)
                return status(ofSignal: signal)
            }
            let isRunning = adapter.session?.isRunning ?? false
            var waits = [
                pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(
                    fd: isRunning ? adapter.session?.debugger.stopDescriptor ?? -1 : -1,
                    events: Int16(POLLIN),
                    revents: 0),
                pollfd(fd: adapter.session?.serviceDescriptor ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            // SAFETY: the array lives through the call, which is told how many entries it has.
            _ = unsafe poll(&waits, nfds_t(waits.count), isRunning ? Self.look : -1)
            adapter.session?.serve()
            if waits[0].revents != 0 {
                // SAFETY: the call writes within the array, of which it is told the size.
                let count = unsafe read(STDIN_FILENO, &buffer, buffer.count)
                guard count > 0 || errno == EINTR else {
                    adapter.leave(ends: true)
                    break
                }
                if count > 0 { adapter.take(buffer[..<count]) }
            }
            adapter.collect()
        }
        return 0
    }

    // MARK: guests

    private func start(
        _ arguments: JSONValue, _ attaches: Bool
    ) throws(AdapterFailure) -> DebugAdapter.StartedSession {
        let session: Session
        do {
            session = Session(debugger: try attaches ? attached(arguments) : launched(arguments))
        } catch let failure as AdapterFailure {
            throw failure
        } catch {
            throw AdapterFailure(explained(error))
        }
        session.debugger.symbolReader = .current
        session.watchHostExits()
        let files = try texts(arguments, "symbols")
        if files.isEmpty { session.debugger.loadImageSymbols() }
        for path in files {
            do throws(DebuggerError) {
                try session.debugger.loadSymbols(path)
            } catch {
                throw AdapterFailure(explained(error))
            }
        }
        return DebugAdapter.StartedSession(session, ownsGuest: !attaches)
    }

    private func texts(_ arguments: JSONValue, _ key: String) throws(AdapterFailure) -> [String] {
        guard let value = arguments[key] else { return [] }
        guard let list = value.list, list.allSatisfy({ $0.text != nil }) else {
            throw AdapterFailure("`\(key)` is a list of strings")
        }
        return list.compactMap(\.text)
    }

    /// A guest of our own, by the options of the command line.
    private func launched(_ arguments: JSONValue) throws -> Debugger {
        let program = try texts(arguments, "vmm")
        if !program.isEmpty {
            let (vmm, target) = try VMMStart(command: program, limit: 60).run(signals)
            tell("launched \(target.name.printable); its output goes to \(vmm.output)")
            self.vmm = vmm
            return try Debugger(target: target)
        }
        var words = try texts(arguments, "options")
        if let program = arguments["program"]?.text { words.append(program) }
        do {
            guard let command = try Program.parseAsRoot(words) as? Program else {
                throw AdapterFailure("`options` are those of `kvmscope`, and no subcommand")
            }
            return try Debugger(target: try command.options.machine())
        } catch let error where !(error is AdapterFailure) && !(error is any AdvisedError) {
            throw AdapterFailure(Program.message(for: error))
        }
    }

    private func attached(_ arguments: JSONValue) throws -> Debugger {
        let name: String
        switch arguments["guest"] ?? arguments["pid"] {
        case .string(let text)?: name = text
        case .number(let number)?: name = Int(exactly: number).map(String.init) ?? ""
        default: throw AdapterFailure("`guest` is the guest's name, or the process id of its VMM")
        }
        let tracer = try StartedTracer()
        self.tracer = tracer
        let debugger = try Debugger(
            target: try AttachedTarget(try GuestFinder().guest(matching: name), tracer: tracer))
        try debugger.startContinue()
        return debugger
    }
}
