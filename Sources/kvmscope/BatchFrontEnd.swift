import Commands
import Glibc
import Terminal

/// Does commands one after the other, with plain lines or JSON as output.
struct BatchFrontEnd {
    let session: Session
    let output: Output
    let signals: SignalPipe

    enum End: Equatable {
        /// All were done.
        case done
        /// `quit`.
        case quit
        case failed
        case signal(Int32)
    }

    /// The commands, and what they source, until the first that fails.
    func run(_ commands: [StartCommand]) -> End {
        for command in commands {
            let end = run(command.commandLine)
            guard end == .done else { return end }
            // Ctrl-C ended that command: nobody wants those behind it.
            if session.wasCancelled { return .signal(SIGINT) }
        }
        return .done
    }

    /// One line, and what it sources.
    func run(_ line: String, origin: Session.Origin = .script) -> End {
        var end: End
        do {
            try showStop()
            end = finish(try session.execute(line, origin: origin), of: line)
        } catch {
            output.show(error, of: line)
            return .failed
        }
        while end == .done {
            if let ended = session.endIfInterrupted() {
                if !output.json { output.show(ended, of: line) }
                break
            }
            guard let next = session.advance() else { break }
            do {
                try showStop()
            } catch {
                output.show(error, of: session.runningLine)
            }
            switch next.result {
            case .success(let outcome): end = finish(outcome, of: next.line)
            case .failure(let error):
                output.show(error, of: next.line)
                end = .failed
            }
        }
        return end
    }

    /// The stop of a guest that was let go with `&`, if it came meanwhile.
    func showStop() throws(CommandError) {
        if let stop = try session.collectStop(timeout: .zero) { output.show(stop, of: session.runningLine) }
    }

    private func finish(_ outcome: Outcome, of line: String) -> End {
        switch outcome {
        case .quit: return .quit
        case .done(let result):
            if !(result is Silence) || output.json { output.show(result, of: line) }
            // One that ended a long command and was kept.
            if session.wasCancelled, let signal = signals.next() { return .signal(signal) }
            return .done
        case .running(let running):
            guard !running.isBackground else {
                output.show(running, of: line)
                return .done
            }
            do {
                switch try session.waitForStop(signals) {
                case .stopped(let result): output.show(result, of: line)
                case .end(let signal): return .signal(signal)
                }
            } catch {
                output.show(error, of: line)
                return .failed
            }
            return .done
        }
    }

    /// The program's status for how it ended.
    static func status(_ end: End) -> Int32 {
        switch end {
        case .done, .quit: 0
        case .failed: 1
        case .signal(let signal): kvmscope.status(ofSignal: signal)
        }
    }
}
