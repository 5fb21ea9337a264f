import Commands
import Terminal

/// Runs the guest to its end and says what it did: for a terminal-less start without commands.
struct ReportFrontEnd {
    let session: Session
    let output: Output
    let signals: SignalPipe

    func run() -> Int32 {
        do {
            // `continue`, so that the report and the command can never differ in what they do.
            guard case .running = try session.execute("continue", origin: .script) else { return 1 }
            if case .end(let signal) = try session.waitForStop(signals) { return status(ofSignal: signal) }
            output.show(session.report(), of: "report")
            return 0
        } catch {
            output.show(error, of: "report")
            return 1
        }
    }
}
