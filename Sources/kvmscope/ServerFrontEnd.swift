import Commands
import Debugger
import Glibc
import Terminal

/// Serves other programs, and nobody at a terminal: what there is to say goes to standard error.
struct ServerFrontEnd {
    let batch: BatchFrontEnd

    private var session: Session { batch.session }
    /// While the guest runs it is looked at so often in any case: a step that never ends has no event.
    private static let look: Int32 = 250
    /// A step is over sooner: its stop is waited for here, which costs less than going round.
    private static let briefly = Duration.milliseconds(1)

    /// Runs until a client ends it, a signal does, or nobody is served any more.
    /// - Parameter commands: done first.
    /// - Returns: the program's status.
    func run(_ commands: [StartCommand]) -> Int32 {
        let end = batch.run(commands)
        guard end == .done else { return BatchFrontEnd.status(end) }
        while true {
            for notice in session.takeNotices() {
                for line in notice.lines(width: 100) { tell(line.text) }
            }
            if let signal = batch.signals.next() { return status(ofSignal: signal) }
            guard !session.isEnded, session.serviceDescriptor >= 0 else { return 0 }
            wait()
            let wasRunning = session.isRunning
            session.serve()
            collect(waiting: !wasRunning && session.isRunning ? Self.briefly : .zero)
        }
    }

    private func wait() {
        let isRunning = session.isRunning
        var descriptors = [
            pollfd(fd: session.serviceDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: batch.signals.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: isRunning ? session.debugger.stopDescriptor : -1, events: Int16(POLLIN), revents: 0),
        ]
        // SAFETY: the array lives through the call, which is told how many entries it has.
        _ = unsafe poll(&descriptors, nfds_t(descriptors.count), isRunning ? Self.look : -1)
    }

    private func collect(waiting: Duration) {
        do {
            guard try session.passStop(timeout: waiting) else { return }
            // The commands of a breakpoint that a person has set.
            if session.hasQueuedLines { _ = batch.advance() }
        } catch {
            tell(error.description)
        }
    }
}
