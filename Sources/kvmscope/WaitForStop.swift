import Commands
import DebugTarget
import Debugger
import Glibc
import SystemPackage
import Terminal

/// How waiting for a running guest ended.
enum Wait {
    case stopped(any CommandOutput)
    /// A signal asks the program to end.
    case end(Int32)
}

extension Session {
    /// Waits until the guest that runs has stopped. The first SIGINT stops it; a second one, SIGTERM,
    /// SIGHUP and SIGQUIT end the program.
    func waitForStop(_ signals: SignalPipe) throws(CommandError) -> Wait {
        var interrupts = 0
        let start = ContinuousClock.now
        var isTold = false
        while true {
            // First: commands that resume the guest again and again would never get here otherwise.
            while let signal = signals.next() {
                guard signal == SIGINT, interrupts == 0 else { return .end(signal) }
                interrupts += 1
                interrupt()
            }
            serve()
            if isEnded { return .end(SIGTERM) }
            if let output = try collectStop(timeout: .zero) { return .stopped(output) }
            guard isRunning else { return .stopped(Silence()) }
            if !isTold, let withholding, ContinuousClock.now - start > .seconds(1) {
                isTold = true
                tell("\(withholding.reason); \(withholding.remedy); waiting, Ctrl-C stops the guest")
            }
            var descriptors = [
                pollfd(fd: debugger.stopDescriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: serviceDescriptor, events: Int16(POLLIN), revents: 0),
            ]
            // A signal makes poll() return early; what it was stands in the pipe. A step that never ends is noticed
            // by who asks for its stop.
            _ = poll(&descriptors, nfds_t(descriptors.count), 250)
        }
    }
}

/// The status of a program that a signal ended, as a shell reports it.
func status(ofSignal signal: Int32) -> Int32 { 128 + signal }
