import Commands
import Debugger
import Glibc
import SystemPackage
import Terminal

/// The line console: readline on a terminal, plain lines from a pipe.
///
/// One loop waits for lines, for signals and, while the guest runs, for its stop: the guest gets what it needs (its
/// false conditions are passed, its stop is shown) whether or not anybody types.
final class ConsoleFrontEnd {
    private let batch: BatchFrontEnd
    private let lines: any LineSource
    private var lastInterrupt: ContinuousClock.Instant?
    /// The guest ends with the session.
    private let endsGuest: Bool
    /// It was said that Ctrl-C would end the guest, too, and nothing was done since.
    private var isWarned = false

    private var session: Session { batch.session }

    /// While the guest runs it is looked at so often in any case: a step that never ends has no event.
    private static let look = 250

    /// - Parameter lines: nil for standard input.
    init(batch: BatchFrontEnd, lines: (any LineSource)? = nil, endsGuest: Bool = false) {
        self.batch = batch
        self.endsGuest = endsGuest
        self.lines = lines ?? (isTerminal(STDIN_FILENO) ? Self.typedLines(batch.session) : PipedLines())
    }

    private static func typedLines(_ session: Session) -> TypedLines {
        let editor = LineEditor()
        editor.completion = { line, cursor in
            let found = session.complete(line, cursor: cursor)
            return LineCompletion(
                start: found.start, candidates: found.candidates.map(\.text), isFile: found.isFile)
        }
        return TypedLines(editor)
    }

    /// Reads and does commands until `quit`, the end of the input or a signal.
    /// - Returns: the program's status: of a script 1 where a command failed.
    func run() -> Int32 {
        var hasFailed = false
        if lines.isInteractive, !batch.output.json {
            batch.output.show(session.stopOutput(for: session.debugger.stop), of: "")
        }
        while true {
            let isRunning = session.isRunning
            batch.showNotices()
            let descriptors =
                [batch.signals.descriptor] + (isRunning ? [session.debugger.stopDescriptor] : [])
                + (session.serviceDescriptor >= 0 ? [session.serviceDescriptor] : [])
            let end: BatchFrontEnd.End
            switch lines.next(
                prompt: session.prompt, waking: descriptors, milliseconds: isRunning ? Self.look : nil)
            {
            case .line(let line):
                // What was done in between makes the next Ctrl-C the first one.
                lastInterrupt = nil
                isWarned = false
                end =
                    batch.output.json && JSONRequest.isOne(line)
                    ? batch.answer(line)
                    : batch.run(line, origin: lines.isInteractive ? .interactive : .script)
            case .endOfFile:
                if session.isCollectingCommands, !lines.isInteractive {
                    tell("the commands end within a block: `end` is missing")
                    return 1
                }
                guard lines.isInteractive else { return hasFailed ? 1 : 0 }
                write("\n", to: .standardOutput)
                guard !isWarned, mayLoseGuest else { return 0 }
                warn(of: "Ctrl-D")
                continue
            case .woken: end = serve()
            }
            switch end {
            // A failed command is reported and the next one done: whoever gives them is there to decide.
            case .done: break
            case .failed: hasFailed = !lines.isInteractive
            case .quit: return hasFailed ? 1 : 0
            case .signal(let signal): return status(ofSignal: signal)
            }
        }
    }

    /// What came while nobody had given a line.
    private func serve() -> BatchFrontEnd.End {
        while let signal = batch.signals.next() {
            let end = take(signal)
            guard end == .done else { return end }
        }
        session.serve()
        batch.showNotices(before: lines.hide)
        if session.isEnded { return .quit }
        guard session.isRunning else { return .done }
        // Collected before the line is hidden: where there is nothing to say the line is left alone.
        switch batch.showStop(before: lines.hide) {
        case .nothing, .failed: return .done
        case .stopped: return batch.advance()
        }
    }

    /// A guest that has run ends with kvmscope.
    private var mayLoseGuest: Bool {
        endsGuest && (session.isRunning || session.debugger.latestStop.number > 0)
    }

    private func warn(of key: String) {
        isWarned = true
        write("The guest would end, too: \(key) once more, or `quit`, ends both.\n", to: .standardOutput)
    }

    /// What a signal comes to.
    func take(_ signal: Int32) -> BatchFrontEnd.End {
        lines.drop()
        guard signal == SIGINT else { return .signal(signal) }
        if session.abandonBlock() { return .done }
        if session.isRunning { return batch.run("stop") }
        let now = ContinuousClock.now
        guard lines.isInteractive, !isWarned else { return .signal(SIGINT) }
        if lastInterrupt.map({ now - $0 < .seconds(1) }) ?? false {
            guard mayLoseGuest else { return .signal(SIGINT) }
            warn(of: "Ctrl-C")
            return .done
        }
        lastInterrupt = now
        write("Ctrl-C again ends kvmscope.\n", to: .standardOutput)
        return .done
    }
}
