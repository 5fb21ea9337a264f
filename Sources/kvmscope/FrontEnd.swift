import Commands
import DebugTarget
import Debugger
import GDBRemote
import Glibc
import Symbols
import SystemPackage
import Terminal

/// Picks the front end that the options and the terminal ask for, and runs it.
struct FrontEnd {
    let options: FrontEndOptions
    let session: Session
    let signals: SignalPipe
    /// The guest ends with the session.
    var ownsGuest = true

    /// For a guest that another program runs: its registers are printed where nothing is asked for.
    ///
    /// - Returns: the program's status.
    func runShowingRegisters() -> Int32 {
        run { output in
            let batch = BatchFrontEnd(session: session, output: output, signals: signals)
            return BatchFrontEnd.status(batch.run([.line("info vcpus"), .line("info registers")]))
        }
    }

    /// Commands on a standard input that is no terminal; nil where there are none.
    private func script() -> PipedLines? {
        guard !isTerminal(STDIN_FILENO) else { return nil }
        let lines = PipedLines()
        return lines.hasAny(waking: signals.descriptor) ? lines : nil
    }

    /// - Parameter unasked: what is done without a terminal and without commands.
    /// - Returns: the program's status.
    func run(unasked: (Output) -> Int32) -> Int32 {
        let status = runFrontEnd(unasked: unasked)
        // What `quit STATUS` asks for, unless something else went wrong.
        return status == 0 ? session.exitStatus ?? 0 : status
    }

    private func runFrontEnd(unasked: (Output) -> Int32) -> Int32 {
        session.debugger.symbolReader = .current
        session.debugger.loadImageSymbols()
        session.cancelRequested = { [signals] in signals.takeInterrupt() }
        var output = Output(json: options.json, color: options.color)
        output.log = session.log
        let batch = BatchFrontEnd(session: session, output: output, signals: signals)
        let commands = options.startCommands(in: CommandLine.arguments.dropFirst())
        let isInteractive = isTerminal(STDOUT_FILENO) && !options.batch && !options.json
        output.begin()
        begin(output, isInteractive: isInteractive)
        defer { if isInteractive, let failure = KeptBreakpoints(session)?.keep() { tell(failure) } }
        do {
            let isStandard = try serve()
            if isStandard || options.gdb != nil && !isInteractive && !options.noTUI {
                return ServerFrontEnd(batch: batch).run(commands)
            }
        } catch {
            tell(error.description)
            return 2
        }

        // On the screen it is the first line of output; with JSON it is a command's, `info image`.
        if !isInteractive || options.noTUI, !options.json, let greeting = session.greeting { tell(greeting) }

        if !isInteractive, !options.noTUI {
            if commands.isEmpty, !options.batch, let script = script() {
                return ConsoleFrontEnd(batch: batch, lines: script).run()
            }
            guard !commands.isEmpty else {
                return unasked(output)
            }
            return BatchFrontEnd.status(batch.run(commands))
        }
        if isInteractive, !options.noTUI {
            if commands.isEmpty, let script = script() {
                return ConsoleFrontEnd(batch: batch, lines: script).run()
            }
            do {
                return try ScreenFrontEnd(
                    session: session, colours: options.color != .never, endsGuest: ownsGuest
                ).run(commands)
            } catch {
                // A terminal that the screen cannot use still has lines.
                guard isTerminal(STDIN_FILENO) else {
                    tell(explained(error))
                    return 2
                }
                tell(explained(error) + " (the line console is used)")
            }
        }
        let end = batch.run(commands)
        // A console stays after a failed command, as its user is there; a batch does not.
        guard end == .done || (end == .failed && !options.batch) else { return BatchFrontEnd.status(end) }
        guard !options.batch else { return BatchFrontEnd.status(end) }
        return ConsoleFrontEnd(batch: batch, endsGuest: ownsGuest).run()
    }

    /// Does the user's own commands, and offers the breakpoints that were kept.
    private func begin(_ output: Output, isInteractive: Bool) {
        if !options.noInit, let path = InitFile.path() {
            if let objection = InitFile.objection(to: path) {
                tell("\(objection); it is not done")
            } else {
                let (text, failure) = session.runInit(path)
                let lines = text.split(separator: "\n").map(String.init)
                if isInteractive {
                    for line in lines { session.notify(line) }
                    if let failure { session.notify(failure.description) }
                } else {
                    // For programs it is no answer to anything.
                    write(
                        lines.map { $0 + "\n" }.joined(), to: options.json ? .standardError : .standardOutput)
                    if let failure { tell(failure.description) }
                }
            }
        }
        if isInteractive, let offer = KeptBreakpoints(session)?.offer() { session.notify(offer) }
    }

    /// Begins to serve other programs where that is asked for, and lets the session do so later.
    /// - Returns: standard input and output belong to a client.
    private func serve() throws(CommandError) -> Bool {
        let remote = RemoteOptions(layout: options.gdbArchitecture, ownsGuest: ownsGuest)
        func server(_ session: Session, _ address: ServerAddress) throws(CommandError) -> RemoteServer {
            do throws(RemoteServerError) {
                return try RemoteServer(session, at: address, remote)
            } catch {
                throw CommandError(error.message, remedy: error.words)
            }
        }
        func address(_ text: String) throws(CommandError) -> ServerAddress {
            do throws(RemoteServerError) {
                return try ServerAddress(text)
            } catch {
                throw CommandError(error.message, remedy: error.words)
            }
        }
        session.serviceMaker = { session, text throws(CommandError) in
            let place = try address(text)
            if place == .standard {
                throw CommandError(
                    "standard input and output belong to this session",
                    remedy: Advice.giveServerAddress.remedy)
            }
            return try server(session, place)
        }
        guard let text = options.gdb else { return false }
        let place = try address(text)
        if place == .standard {
            session.use(try server(session, place))
            return true
        }
        tell(try session.startService(at: text).summary)
        return false
    }
}
