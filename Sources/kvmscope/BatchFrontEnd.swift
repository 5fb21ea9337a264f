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

    /// What came of looking whether a guest that nobody waits for has stopped.
    enum Look {
        case nothing
        case stopped
        /// It cannot be told how.
        case failed
    }

    /// The commands, and what they source, until the first that fails.
    func run(_ commands: [StartCommand]) -> End {
        for command in commands {
            let end = run(command.commandLine)
            if case .signal = end { return end }
            // Ctrl-C ended that command: nobody wants those that follow.
            if session.wasCancelled { return .signal(SIGINT) }
            guard end == .done else { return end }
        }
        return .done
    }

    /// One line, and what it sources.
    func run(_ line: String, origin: Session.Origin = .script) -> End {
        switch showStop() {
        case .nothing: break
        case .failed: return .failed
        case .stopped:
            let end = advance()
            // Enter was pressed to see that stop, or as it came; not to do the last command again.
            guard end == .done, !(origin == .interactive && line.allSatisfy(\.isWhitespace)) else {
                return end
            }
        }
        let end: End
        do {
            end = finish(try session.execute(line, origin: origin), of: line)
        } catch {
            end = fail(error, of: line)
        }
        return end == .done ? advance() : end
    }

    /// A request of a program, and one line for it.
    func answer(_ line: String) -> End {
        let request: JSONRequest
        do {
            request = try JSONRequest(line)
        } catch {
            output.show(error, of: line)
            return .done
        }
        output.begin(request)
        defer { output.endRequest() }
        for line in request.lines {
            let end = run(line)
            guard end == .done else { return end == .failed ? .done : end }
        }
        return .done
    }

    /// The lines that wait: those of files, and of the breakpoints that were met.
    func advance() -> End {
        var end = End.done
        while end == .done {
            // Before the next line, never after: the stop of the next one is waited for below.
            _ = showStop()
            if let ended = session.endIfInterrupted() {
                if !output.json { output.show(ended, of: session.runningLine) }
                break
            }
            guard let next = session.advance() else { break }
            switch next.result {
            case .success(let outcome): end = finish(outcome, of: next.line, in: next.compound)
            case .failure(let error): end = fail(error, of: next.line, in: next.compound)
            }
            if end == .done, next.endsCompound, let compound = next.compound {
                output.end(compound: compound)
            }
        }
        return end
    }

    /// The stop of a guest that runs with `&`, if it has come meanwhile. What needs no stop (a false condition, a
    /// withheld step) is done here, too: it has to be called whenever the stop's descriptor polls readable.
    /// - Parameter prepare: called where there is something to show.
    func showStop(before prepare: () -> Void = {}) -> Look {
        do {
            guard let stop = try session.collectStop(timeout: .zero) else { return .nothing }
            prepare()
            output.show(stop: stop, of: session.runningLine)
            return .stopped
        } catch {
            prepare()
            output.show(stopFailure: error, of: session.runningLine)
            return .failed
        }
    }

    /// What services have to say.
    /// - Parameter prepare: called where there is something to show.
    func showNotices(before prepare: () -> Void = {}) {
        let notices = session.takeNotices()
        guard !notices.isEmpty else { return }
        prepare()
        for notice in notices { output.show(notice: notice) }
    }

    private func fail(_ error: CommandError, of line: String, in compound: String? = nil) -> End {
        output.show(error, of: line, in: compound)
        return endingSignal ?? .failed
    }

    /// One that ended a long command and was kept.
    private var endingSignal: End? { session.wasCancelled ? signals.next().map { .signal($0) } : nil }

    private func finish(_ outcome: Outcome, of line: String, in compound: String? = nil) -> End {
        switch outcome {
        case .quit: return .quit
        case .done(let result):
            if !(result is Queued), !(result is Silence) || output.json {
                output.show(result, of: line, in: compound)
            }
            return endingSignal ?? .done
        case .running(let running):
            guard !running.isBackground else {
                output.show(running, of: line, in: compound)
                return .done
            }
            do {
                switch try session.waitForStop(signals) {
                case .stopped(let result): output.show(result, of: line, in: compound)
                case .end(let signal): return .signal(signal)
                }
            } catch {
                return fail(error, of: line, in: compound)
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
