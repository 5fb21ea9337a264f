import CLinux
import Glibc
import KVMCore
import Locking

/// Counts the events of rings on a thread of its own, which takes them before a ring is full: whoever looks does so once a
/// second or once an hour.
///
/// The rings live as long as this does. Any thread may call.
package final class RingReader: Sendable {
    private let shared: Shared
    private let thread: pthread_t
    /// Its other end is the thread's, which ends with it.
    private let end: Int32

    /// What the thread and the others have.
    private final class Shared: Sendable {
        struct State {
            let stream: any EventStream
            var counter = RingCounter()

            mutating func count(before end: UInt64) { counter.count(stream.take(before: end)) }
        }
        let state: Lock<State>
        /// Readable once it is time to take; then the one that tells the thread's end.
        let descriptors: [Int32]

        init(_ stream: sending any EventStream, end: Int32) {
            descriptors = stream.descriptors + [end]
            state = Lock(State(stream: stream))
        }
    }

    /// Of another CPU's ring, what is older is there: see ``EventOrder``. In nanoseconds.
    private static let settling: UInt64 = 5_000_000
    /// Between two takes, in milliseconds: kernels before 5.0 call a trace buffer readable that is not empty.
    private static let pause: Int32 = 10

    init(_ stream: sending any EventStream) throws(MonitorError) {
        var ends: (Int32, Int32) = (-1, -1)
        // SAFETY: two adjacent Int32 are what socketpair fills.
        let paired = withUnsafeMutableBytes(of: &ends) {
            clinux_socket_pair($0.bindMemory(to: Int32.self).baseAddress)
        }
        guard paired >= 0 else { throw Self.refused(-paired) }
        shared = Shared(stream, end: ends.1)
        end = ends.0
        do {
            thread = try ThreadStart.begin { [shared] in Self.serve(shared) }
        } catch {
            close(ends.0)
            close(ends.1)
            throw Self.refused(error.code)
        }
    }

    deinit {
        close(end)
        // Not from the thread itself, which has no reference to this.
        pthread_join(thread, nil)
    }

    private static func refused(_ error: Int32) -> MonitorError {
        MonitorError("no thread can be started that reads the rings (\(String(cString: strerror(error))))")
    }

    private static func serve(_ shared: Shared) {
        _ = clinux_name_thread("kvmscope-rings")
        var entries = shared.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let last = entries.count - 1
        defer { close(entries[last].fd) }
        while true {
            if poll(&entries, nfds_t(entries.count), -1) < 0, errno != EINTR { return }
            if entries[last].revents != 0 { return }
            // One that can only say that it is gone would say so for ever.
            for place in entries.indices
            where Int32(entries[place].revents) & (POLLHUP | POLLERR | POLLNVAL) != 0 {
                entries[place].fd = -1
            }
            let now = monotonicTime()
            shared.state.withLock { $0.count(before: now > settling ? now - settling : 0) }
            if poll(&entries[last], 1, pause) > 0 { return }
        }
    }

    /// What was counted until now.
    func snapshot() throws(MonitorError) -> CounterSnapshot {
        let now = monotonicTime()
        let (snapshot, trouble) = shared.state.withLock { state in
            state.count(before: now)
            return (state.counter.snapshot(at: now), state.stream.trouble)
        }
        if let trouble { throw trouble }
        return snapshot
    }

    func forget(_ threads: Set<Int32>) { shared.state.withLock { $0.counter.forget(threads) } }

    func countInstructionPointers(_ isWanted: Bool, _ events: KVMEvents) throws(MonitorError) {
        try shared.state.withLock { (state) throws(MonitorError) in
            try state.counter.countInstructionPointers(isWanted, events)
        }
    }
}

/// A source that counts what it reads from rings.
package protocol RingSource: ExitSource {
    var events: KVMEvents { get }
    var reader: RingReader { get }
}

extension RingSource {
    package var names: ExitNames { events.names }

    package func read() throws(MonitorError) -> CounterSnapshot { try reader.snapshot() }

    package func forget(_ threads: Set<Int32>) { reader.forget(threads) }

    package func countInstructionPointers(_ isWanted: Bool) throws(MonitorError) {
        try reader.countInstructionPointers(isWanted, events)
    }
}
