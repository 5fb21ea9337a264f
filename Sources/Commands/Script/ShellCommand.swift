import CLinux
import Debugger
import Glibc
import SystemPackage

/// A line for `/bin/sh`, run to its end with its output taken. The guest goes on meanwhile; Ctrl-C ends it.
struct ShellCommand {
    /// More output than this is read, and not kept.
    static let mostOutput = 4 << 20
    /// After Ctrl-C a program has so long before it is killed.
    private static let grace = Duration.seconds(2)

    struct Ending {
        /// Its status; nil where a signal ended it.
        var status: Int?
        var signal: Int?
        var output: [UInt8] = []
        var isCut = false
    }

    let session: Session

    /// - Parameter input: what it reads; nil for nothing at all.
    func run(_ line: String, input: [UInt8]?, _ call: Invocation) throws(CommandError) -> Ending {
        guard session.hostAccess.contains(.programs) else {
            throw call.error("this session may not run programs")
        }
        guard !line.utf8.contains(0) else { throw call.error("a line for the shell has no zero in it") }
        let output = try Pipe(ours: 0, call)
        var feed: Pipe?
        if input != nil { feed = try Pipe(ours: 1, call) }
        let child = clinux_spawn_shell(line, feed?.theirs ?? -1, output.theirs)
        output.closeTheirs()
        feed?.closeTheirs()
        guard child > 0 else {
            throw call.error("cannot run /bin/sh: \(Errno(rawValue: -child))")
        }
        return wait(for: child, output, feed, input ?? [])
    }

    private func wait(for child: Int32, _ output: Pipe, _ feed: Pipe?, _ input: [UInt8]) -> Ending {
        var ending = Ending()
        var rest = input[...]
        var isOpen = true
        var interrupted: ContinuousClock.Instant?
        if rest.isEmpty { feed?.closeOurs() }
        while true {
            var status: Int32 = 0
            if clinux_reap_if_ended(child, &status) != 0 {
                if isOpen { _ = output.read(into: &ending) }
                ending.take(status)
                return ending
            }
            var waits = [
                pollfd(fd: isOpen ? output.ours : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: rest.isEmpty ? -1 : feed?.ours ?? -1, events: Int16(POLLOUT), revents: 0),
                pollfd(
                    fd: session.awaitsStop ? session.debugger.stopDescriptor : -1, events: Int16(POLLIN),
                    revents: 0),
            ]
            // SAFETY: the array lives through the call, which is told how many entries it has.
            _ = unsafe poll(&waits, nfds_t(waits.count), 20)
            if waits[0].revents != 0 { isOpen = output.read(into: &ending) }
            if waits[1].revents != 0, let feed, !feed.write(&rest) || rest.isEmpty {
                rest = []
                feed.closeOurs()
            }
            session.keepStop()
            if let since = interrupted {
                if ContinuousClock.now - since > Self.grace { _ = clinux_signal_group(child, SIGKILL) }
            } else if session.shouldStop() {
                interrupted = .now
                _ = clinux_signal_group(child, SIGINT)
            }
        }
    }
}

extension ShellCommand.Ending {
    /// Source: wait(2).
    fileprivate mutating func take(_ status: Int32) {
        let signal = Int(status & 0x7F)
        if signal == 0 { self.status = Int(status >> 8 & 0xFF) } else { self.signal = signal }
    }
}

/// One end is ours and does not block, the other one a child's.
private final class Pipe {
    let ours: Int32
    let theirs: Int32
    private var isOpen = true
    private var isGiven = true

    /// - Parameter ours: 0 for the end that reads, 1 for the one that writes.
    init(ours: Int32, _ call: Invocation) throws(CommandError) {
        var ends: [Int32] = [-1, -1]
        let result = clinux_pipe(&ends, ours)
        guard result == 0 else { throw call.error("cannot make a pipe: \(Errno(rawValue: -result))") }
        self.ours = ends[Int(ours)]
        theirs = ends[1 - Int(ours)]
    }

    deinit {
        closeOurs()
        closeTheirs()
    }

    func closeOurs() {
        if isOpen { close(ours) }
        isOpen = false
    }

    func closeTheirs() {
        if isGiven { close(theirs) }
        isGiven = false
    }

    /// Takes what is there. False once nothing more can come.
    func read(into ending: inout ShellCommand.Ending) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            // SAFETY: the buffer has as many bytes as the call is told.
            let count = unsafe Glibc.read(ours, &buffer, buffer.count)
            guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
            let room = ShellCommand.mostOutput - ending.output.count
            ending.output += buffer.prefix(min(count, room))
            if count > room { ending.isCut = true }
        }
    }

    /// Gives what there is room for. False where nobody reads it.
    func write(_ rest: inout ArraySlice<UInt8>) -> Bool {
        let part = Array(rest.prefix(1 << 16))
        // SAFETY: the array lives through the call, which is told how many bytes it has.
        let count = unsafe clinux_write(ours, part, part.count)
        guard count >= 0 else { return count == -Int(EAGAIN) || count == -Int(EINTR) }
        rest = rest.dropFirst(count)
        return true
    }
}

extension Session {
    /// The guest runs, and its stop was not taken yet.
    var awaitsStop: Bool { debugger.isRunning && keptStop == nil }

    /// Takes the stop of a guest that runs meanwhile, for who asks for it next; and does what needs no stop.
    func keepStop() {
        guard awaitsStop else { return }
        do {
            keptStop = try debugger.collectStop(timeout: .zero)
        } catch {
            announce(CommandError(error).description)
        }
    }
}
