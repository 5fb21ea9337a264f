import Commands
import Debugger
import Glibc
import SystemPackage
import Terminal

/// The line console: readline on a terminal, plain lines from a pipe.
struct ConsoleFrontEnd {
    let batch: BatchFrontEnd

    /// Reads and does commands until `quit` or the end of the input.
    func run() -> Int32 {
        guard isTerminal(STDIN_FILENO) else { return runPiped() }
        let session = batch.session
        let editor = LineEditor()
        editor.completion = { line, cursor in
            let found = session.complete(line, cursor: cursor)
            return LineCompletion(
                start: found.start, candidates: found.candidates.map(\.text), isFile: found.isFile)
        }
        if !batch.output.json { batch.output.show(session.stopOutput(for: session.debugger.stop), of: "") }
        var lastInterrupt: ContinuousClock.Instant?
        while true {
            let line: String
            switch editor.readLine(prompt: "(kvmscope) ", interrupt: batch.signals.descriptor) {
            case .line(let text): line = text
            case .endOfFile:
                write("\n", to: .standardOutput)
                return 0
            case .interrupted:
                while let signal = batch.signals.next() {
                    guard signal == SIGINT else { return status(ofSignal: signal) }
                    if session.isRunning {
                        _ = batch.run("stop")
                        continue
                    }
                    let now = ContinuousClock.now
                    if let last = lastInterrupt, now - last < .seconds(1) { return status(ofSignal: SIGINT) }
                    lastInterrupt = now
                    write("Ctrl-C again ends kvmscope.\n", to: .standardOutput)
                }
                continue
            }
            switch batch.run(line, origin: .interactive) {
            case .done, .failed: break
            case .quit: return 0
            case .signal(let signal): return status(ofSignal: signal)
            }
        }
    }

    /// Lines from a file or another program. A failed command is reported and the next one done, as the other
    /// program is there to decide.
    private func runPiped() -> Int32 {
        while let line = readLine() {
            switch batch.run(line) {
            case .done, .failed: break
            case .quit: return 0
            case .signal(let signal): return status(ofSignal: signal)
            }
        }
        return 0
    }
}
