import CNcurses
import Glibc
import SystemPackage

/// Signals as bytes that a descriptor gives, so that a `poll` loop sees them in order with all else.
///
/// While one of SIGTERM, SIGHUP or SIGQUIT waits unread, a second of its kind ends the process at once, with the
/// terminal put back: a loop that hangs can still be ended. For one thread, and one at a time in the process.
public final class SignalPipe {
    /// What asks a program to end.
    public static let ending: [Int32] = [SIGTERM, SIGHUP, SIGQUIT]

    private let signals: [Int32]
    /// Taken from the pipe and not yet asked for.
    private var kept: [Int32] = []
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
        if !kept.isEmpty { return kept.removeFirst() }
        let signal = cncurses_next_signal()
        return signal == 0 ? nil : signal
    }

    /// Whether the user asks to end what is being done: takes a SIGINT that waits. Other signals are left for
    /// ``next()``, and those that ask the process to end count, too.
    public func takeInterrupt() -> Bool {
        while true {
            let signal = cncurses_next_signal()
            if signal == 0 { break }
            kept.append(signal)
        }
        let before = kept.count
        kept.removeAll { $0 == SIGINT }
        return kept.count < before || kept.contains(where: Self.ending.contains)
    }

    /// Puts back the actions that the signals had before.
    public func cancel() {
        for signal in signals { cncurses_unwatch(signal) }
    }
}
