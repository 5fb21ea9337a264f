import Commands
import Debugger
import Glibc
import Symbols
import SystemPackage
import Terminal

/// Picks the front end that the options and the terminal ask for, and runs it.
struct FrontEnd {
    let options: FrontEndOptions
    let session: Session
    let signals: SignalPipe

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
        session.debugger.symbolReader = .current
        session.cancelRequested = { [signals] in signals.takeInterrupt() }
        let output = Output(json: options.json, color: options.color)
        let batch = BatchFrontEnd(session: session, output: output, signals: signals)
        let commands = options.startCommands(in: CommandLine.arguments.dropFirst())
        let isInteractive = isTerminal(STDOUT_FILENO) && !options.batch && !options.json

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
                return try ScreenFrontEnd(session: session, colours: options.color != .never).run(commands)
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
        return ConsoleFrontEnd(batch: batch).run()
    }
}
