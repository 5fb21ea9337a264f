import CNcurses
import SystemPackage

/// Signals as bytes that a descriptor gives, so that a `poll` loop sees them in order with all else.
///
/// While one of SIGTERM, SIGHUP or SIGQUIT waits unread, a second of its kind ends the process at once, with the
/// terminal put back: a loop that hangs can still be ended. For one thread, and one at a time in the process.
public final class SignalPipe {
    private let signals: [Int32]
    /// Polls readable while a signal waits.
    public let descriptor: Int32

    /// - Parameter signals: their numbers, as SIGINT.
    public init(_ signals: [Int32]) throws(TerminalError) {
        let descriptor = cncurses_signal_descriptor()
        guard descriptor >= 0 else {
            throw TerminalError("cannot make a pipe for signals: \(Errno(rawValue: -descriptor))")
        }
        self.signals = signals
        self.descriptor = descriptor
        for signal in signals {
            let result = cncurses_watch(signal)
            guard result == 0 else {
                for earlier in signals { cncurses_unwatch(earlier) }
                throw TerminalError("cannot watch signal \(signal): \(Errno(rawValue: -result))")
            }
        }
    }

    deinit { cancel() }

    /// The next signal that waits, nil when none does. Never blocks.
    public func next() -> Int32? {
        let signal = cncurses_next_signal()
        return signal == 0 ? nil : signal
    }

    /// Puts back the actions that the signals had before.
    public func cancel() {
        for signal in signals { cncurses_unwatch(signal) }
    }
}
