import CLinux
import Glibc
import Host
import KVMCore
import Locking
import Synchronization

/// Where the tracer's program is: an executable that calls ``TracerProcess/main()`` when it gets these arguments.
public struct TracerProgram: Sendable, Hashable {
    public var path: String
    public var arguments: [String]

    public init(path: String, arguments: [String] = [TracerProcess.argument]) {
        self.path = path
        self.arguments = arguments
    }

    /// The running program itself.
    public static var current: TracerProgram {
        TracerProgram(path: HelperProgram.currentPath)
    }
}

/// A tracer that was started before the guest is known, because a program's start takes longer than all the rest of
/// attaching. It ends with its last user.
public struct StartedTracer: Sendable {
    let client: TracerClient

    public init(_ program: TracerProgram = .current) throws { client = try TracerClient(program) }
}

/// The front end's side of the tracer.
///
/// One message is answered at a time; events that come in between are kept for ``nextEvent(timeout:)``. Locked:
/// any thread may call, but who waits for an event keeps the others waiting.
final class TracerClient: Sendable, RemoteChannel {
    private let socket: Int32
    private struct State {
        var buffer = [UInt8](repeating: 0, count: 128 * 1024)
        var pieces = WirePieces()
        var events: [TracerReply.Event] = []
        /// ``TracerReply/changed`` came.
        var hasChanged = false
        /// Why the last call in the VMM was not made.
        var trouble: HostGuestError?
    }
    private let state = Lock(State())
    private let supervisor: TracerSupervisor
    /// Of the VMM: descriptors are fetched through it. -1 until it is known.
    private let pidfd = Atomic<Int32>(-1)

    init(_ program: TracerProgram) throws(HostGuestError) {
        let records = clinux_shared_memory("kvmscope records", ThreadRecords.size)
        do {
            let started = try HelperProgram(path: program.path, arguments: program.arguments)
                .start(sharing: records)
            socket = started.socket
            supervisor = TracerSupervisor(started.process, program, records: records)
        } catch {
            if records >= 0 { close(records) }
            throw HostGuestError(
                .tracer, "no tracer: cannot \(error.act): \(String(cString: strerror(error.errno)))")
        }
        supervisor.watch(socket)
    }

    /// Names the VMM, once.
    func open(_ process: Int32) {
        let descriptor = clinux_pidfd_open(process)
        let before = pidfd.exchange(descriptor, ordering: .sequentiallyConsistent)
        if before >= 0 { close(before) }
    }

    /// The tracer's process id.
    var tracerProcess: Int32 { supervisor.tracer }

    /// The tracer has ended without having been told to. Called once, on any thread.
    func onLoss(_ body: @escaping @Sendable () -> Void) { supervisor.onLoss(body) }

    var isLost: Bool { supervisor.isLost }

    deinit {
        supervisor.expectEnd()
        // The tracer sees this as the front end's end: it puts everything back and ends. Another descriptor of the socket
        // may still be polled.
        shutdown(socket, Int32(SHUT_RDWR))
        close(socket)
        let descriptor = pidfd.load(ordering: .sequentiallyConsistent)
        if descriptor >= 0 { close(descriptor) }
        supervisor.awaitEnd()
    }

    // MARK: Messages

    /// Sends a message, and waits for what answers it.
    func ask(_ request: TracerRequest) throws(HostGuestError) -> TracerReply {
        try state.withLock { (state) throws(HostGuestError) -> TracerReply in
            try send(request)
            while true {
                guard let reply = try receive(&state, timeout: nil) else { continue }
                switch reply {
                case .event(let event): state.events.append(event)
                case .changed: state.hasChanged = true
                case .nudged: continue
                case .refused(let error): throw error
                default:
                    supervisor.note(request, reply)
                    return reply
                }
            }
        }
    }

    /// Sends a message that is not answered.
    func tell(_ request: TracerRequest) throws(HostGuestError) {
        try state.withLock { (_) throws(HostGuestError) in try send(request) }
    }

    /// What vCPUs did by themselves while a question was answered.
    func takeEvents() -> [TracerReply.Event] {
        state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
    }

    /// Whether the tracer has told that something has changed, since this was asked last.
    func takeChange() -> Bool {
        state.withLock { state in
            defer { state.hasChanged = false }
            return state.hasChanged
        }
    }

    /// The VMM has ended.
    var isVMMGone: Bool {
        var ended = pollfd(
            fd: pidfd.load(ordering: .sequentiallyConsistent), events: Int16(POLLIN), revents: 0)
        return poll(&ended, 1, 0) == 1
    }

    /// Some are kept.
    var hasEvents: Bool { state.withLock { !$0.events.isEmpty } }

    /// The next thing that a vCPU did by itself; nil when it was nudged, when something has changed, or after `timeout` (nil: none).
    func nextEvent(timeout: Duration?) throws(HostGuestError) -> TracerReply.Event? {
        try state.withLock { (state) throws(HostGuestError) -> TracerReply.Event? in
            if !state.events.isEmpty { return state.events.removeFirst() }
            guard let reply = try receive(&state, timeout: timeout) else { return nil }
            switch reply {
            case .event(let event): return event
            case .changed:
                state.hasChanged = true
                return nil
            case .nudged: return nil
            default: throw HostGuestError(.tracer, "the tracer said what nobody had asked for")
            }
        }
    }

    /// Makes a waiting ``nextEvent(timeout:)`` return nil. From any thread, also while it waits.
    func nudge() {
        let bytes = TracerRequest.nudge.encoded
        _ = clinux_send(socket, bytes, bytes.count)
    }

    /// Polls readable while there is something to be had from ``nextEvent(timeout:)``.
    var eventDescriptor: Int32 { socket }

    /// A descriptor of the VMM, in this process too.
    func borrow(_ descriptor: Int32) throws(HostGuestError) -> Int32 {
        let process = pidfd.load(ordering: .sequentiallyConsistent)
        let fetched = process >= 0 ? clinux_pidfd_getfd(process, descriptor) : process
        guard fetched >= 0 else {
            throw HostGuestError.denied(
                "descriptor \(descriptor) of the VMM may not be fetched (\(String(cString: strerror(-fetched))))"
            )
        }
        return fetched
    }

    private func send(_ request: TracerRequest) throws(HostGuestError) {
        guard supervisor.note(request), WirePieces.send(request.encoded, to: socket) else {
            throw supervisor.recover()
        }
    }

    /// - Parameter timeout: nil waits for ever.
    /// - Returns: nil, too, for a part of a message.
    private func receive(_ state: inout State, timeout: Duration?) throws(HostGuestError) -> TracerReply? {
        var count = -Int(EAGAIN)
        // A step is answered sooner than a sleep would end.
        for _ in 0..<(timeout == .zero ? 1 : Self.looks) {
            count = clinux_receive(socket, &state.buffer, state.buffer.count, 0)
            if count != -Int(EAGAIN) { break }
            sched_yield()
        }
        if count == -Int(EAGAIN) {
            if let timeout {
                let (seconds, fraction) = timeout.components
                let limit = min(max(seconds * 1000 + fraction / 1_000_000_000_000_000, 0), 1 << 30)
                var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                if timeout <= .zero || poll(&ready, 1, Int32(limit)) <= 0 { return nil }
            }
            count = clinux_receive(socket, &state.buffer, state.buffer.count, 1)
        }
        guard count > 0 else { throw supervisor.recover() }
        guard let message = state.pieces.take(state.buffer[..<count]) else { return nil }
        guard let reply = TracerReply(message) else {
            throw HostGuestError(.tracer, "the tracer said what makes no sense")
        }
        return reply
    }

    private static let looks = 50

    // MARK: RemoteChannel

    private func result(_ request: TracerRequest) -> (Int32, [UInt8], [UInt8]) {
        do throws(HostGuestError) {
            guard case .called(let result, let argument, let indirect) = try ask(request) else {
                return (-EIO, [], [])
            }
            state.withLock { $0.trouble = nil }
            return (result, argument, indirect)
        } catch {
            state.withLock { $0.trouble = error }
            return (-EIO, [], [])
        }
    }

    var trouble: String? { state.withLock { $0.trouble?.description } }

    func call(_ descriptor: Int32, _ request: UInt, value: UInt) -> Int32 {
        result(.callValue(descriptor: descriptor, request: UInt64(request), value: UInt64(value))).0
    }

    func call(_ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer) -> Int32 {
        let (result, changed, _) = result(
            .callBytes(descriptor: descriptor, request: UInt64(request), argument: Array(argument)))
        // What a failed call left there is the caller's to see too: counts, as of E2BIG.
        if changed.count == argument.count { argument.copyBytes(from: changed) }
        return result
    }

    func call(
        _ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer, offset: Int,
        indirect: UnsafeMutableRawBufferPointer
    ) -> Int32 {
        let (result, changed, more) = result(
            .callIndirect(
                descriptor: descriptor, request: UInt64(request), argument: Array(argument),
                offset: UInt32(offset), indirect: Array(indirect)))
        if changed.count == argument.count {
            argument.copyBytes(from: changed)
            // The address is the VMM's; it says nothing here.
        }
        if more.count == indirect.count { indirect.copyBytes(from: more) }
        return result
    }

    func fetch(_ descriptor: Int32) -> Int32 {
        let process = pidfd.load(ordering: .sequentiallyConsistent)
        guard process >= 0 else { return -EBADF }
        let fetched = clinux_pidfd_getfd(process, descriptor)
        _ = result(.close(descriptor: descriptor))
        return fetched
    }
}
