import CLinux
import Glibc
import Host

/// The tracer: the one thread that traces a VMM, in a process of its own.
///
/// It does what the messages on its socket say. When the other end of the socket is gone, however that came,
/// everything is put back and the VMM goes on untraced.
final class Tracer {
    private let socket: Int32
    /// Nil where the front end has none of them.
    private let records: ThreadRecords?
    var threads: [TracedThread] = []
    let meter = PauseMeter()
    private var mappingSize = 0
    private var syncMask: UInt64 = 0
    private var memory: AttachedMemory?
    let ledger = PatchLedger()
    /// Keeps other debuggers off this VMM.
    private var claim: DebuggerClaim?
    /// Of a program that was started here.
    var follower: LaunchFollower?
    /// Its threads are not the tracer's own yet.
    var isFollowing = false
    private var calls: CallWatch?
    /// The VMM, once it is known.
    var process: Int32?
    /// The VMM's other threads, while a vCPU has none that is known.
    var nonVCPUThreads: NonVCPUThreads?
    private var changeWatcher: VMMChangeWatcher?
    /// Those that nobody waits for any more, and vCPUs' threads that were to be detached while they were away.
    var pendingDetaches: PendingDetaches?
    /// Of a VMM that another tracer has left.
    var pause: VMMPause?
    var leftBehind: [TracedThread] = []
    private var buffer = [UInt8](repeating: 0, count: 128 * 1024)
    private var pieces = WirePieces()

    /// How long a vCPU may take to get to KVM_RUN before it is held where it is.
    private static let waitLimit: UInt64 = 100_000_000
    /// How long until it is given up.
    static let limit: UInt64 = 2_000_000_000

    init(socket: Int32, records: ThreadRecords?) {
        self.socket = socket
        self.records = records
    }

    /// Serves until the other end is gone or says so, or SIGTERM comes.
    func serve() {
        guard clinux_hold_signals() >= 0, clinux_signal_on_data(socket) >= 0 else { return }
        var collected = 0
        while true {
            // A stop of a thread is the most likely, and the most urgent. One that ends has to be taken in even
            // while it is held: until then its process cannot end. But threads that stop without end are not to keep
            // orders waiting.
            if collected < Self.stretch, collectStops() {
                collected += 1
                continue
            }
            let isBusy = collected == Self.stretch
            collected = 0
            let (end, request) = receive()
            if end { break }
            if request == nil, clinux_end_is_asked() != 0 { break }
            if let request {
                if !perform(request) { break }
            } else if !isBusy {
                // One that is followed becomes ready by time, too.
                let isArmed = threads.contains { $0.isHeld && !$0.isIdle }
                let limit = isFollowing || keepsWatch ? 10_000_000 : isArmed ? Self.idleLimit : 200_000_000
                let isIdle = clinux_next_signal(limit) < 0
                if isIdle, !threads.contains(where: \.isGoing) {
                    for thread in threads { thread.disarmWhileIdle() }
                }
            }
            watch()
        }
        end()
    }

    // MARK: Messages

    /// - Returns: whether the other end is gone, and the request, if there is one that makes sense.
    private func receive() -> (end: Bool, request: TracerRequest?) {
        let isRunning =
            isFollowing || threads.contains(where: \.isGoing) || nonVCPUThreads?.isWatching == true
        // After a stop the next order mostly follows at once; waking up from a sleep takes longer than looking again.
        for _ in 0..<(isRunning ? 1 : Self.looks) {
            let count = clinux_receive(socket, &buffer, buffer.count, 0)
            if count != -Int(EAGAIN) { return decode(count) }
            if !isRunning { sched_yield() }
        }
        return (false, nil)
    }

    private static let looks = 50
    /// After this long without a request held threads are made ready for the tracer to be killed, in nanoseconds.
    private static let idleLimit: UInt64 = 20_000_000
    /// After so many stops in a row orders are looked for.
    private static let stretch = 64

    private func decode(_ count: Int) -> (end: Bool, request: TracerRequest?) {
        guard count > 0 else {
            takeLastWords()
            return (true, nil)
        }
        // The rest of a long message follows at once.
        guard let message = pieces.take(buffer[..<count]) else { return receive() }
        guard let request = TracerRequest(message) else {
            send(.refused(HostGuestError(.tracer, "the tracer got a message that makes no sense")))
            return (false, nil)
        }
        return (false, request)
    }

    /// An end that leaves answers unread is told of ahead of what it had still sent, and that may be patches.
    private func takeLastWords() {
        while true {
            let count = clinux_receive(socket, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            switch TracerRequest(buffer[..<count]) {
            case let request? where request.isAboutPatches: _ = perform(request)
            default: continue
            }
        }
    }

    func send(_ reply: TracerReply) {
        // A failure means that the other end is gone, which the next receive says too.
        _ = WirePieces.send(reply.encoded, to: socket)
    }

    /// The guest runs with something of ours in it, so that what the VMM changes matters.
    private var keepsWatch: Bool {
        (!ledger.isEmpty || threads.contains(where: \.isArmed)) && threads.contains(where: \.isGoing)
    }

    private func watch() {
        guard keepsWatch, let process else { return }
        if changeWatcher == nil { changeWatcher = VMMChangeWatcher(process) }
        if changeWatcher?.isToTell(ledger) == true { send(.changed) }
    }

    /// - Returns: false after `.detach`.
    private func perform(_ request: TracerRequest) -> Bool {
        if case .noticed(let isPending) = request {
            changeWatcher?.noticed(isPending: isPending)
            return true
        }
        if request.isAboutVCPUs { for thread in threads { thread.rearm() } }
        switch request {
        case .noticed: break
        case .attach(let process, let mappingSize, let syncMask, let vcpus):
            do throws(HostGuestError) {
                try attach(process, Int(mappingSize), syncMask, vcpus)
                send(.attached(threads.map(\.validRegisters)))
            } catch {
                send(.refused(error))
            }
        case .stop:
            do throws(HostGuestError) {
                try stopAll()
                send(.stopped(threads.map(\.standing), spread: meter.allStand()))
            } catch {
                send(.refused(error))
            }
        case .go(let orders):
            for order in orders where Int(order.index) < threads.count {
                threads[Int(order.index)].resume(order.mode, order.plan)
            }
            resumeNonVCPUThreads(orders)
        case .callValue(let descriptor, let request, let value):
            call(descriptor) { callValue($0, descriptor, request, value) }
        case .callBytes(let descriptor, let request, var argument):
            call(
                descriptor, { $0.call(descriptor, request, &argument) },
                memory: { result in
                    if result == 0 { noteDebug(descriptor, request, argument) }
                    return (argument, [])
                })
        case .callIndirect(let descriptor, let request, var argument, let offset, var indirect):
            call(
                descriptor, { $0.call(descriptor, request, &argument, offset: Int(offset), &indirect) },
                memory: { _ in (argument, indirect) })
        case .close(let descriptor):
            call(descriptor) {
                Int32(
                    truncatingIfNeeded: $0.call(SystemCall.close, UInt64(bitPattern: Int64(descriptor))))
            }
        case .nudge: send(.nudged)
        case .find(let process, let threads):
            // Of a process that is traced already, the threads are known.
            let known = self.threads.filter { !$0.isAbsent }.map {
                ThreadLook.Found(thread: $0.thread, descriptor: $0.vcpu.descriptor)
            }
            let isFree = self.threads.isEmpty && follower == nil
            send(.found(isFree ? ThreadLook(process, pendingDetaches(of: process)).look(threads) : known))
        case .launch(let arguments, let input, let output):
            do throws(HostGuestError) {
                guard follower == nil, threads.isEmpty else {
                    throw HostGuestError(.tracer, "the tracer has a guest already")
                }
                follower = try LaunchFollower(arguments, input: input, output: output)
                isFollowing = true
                send(.done)
            } catch {
                send(.refused(error))
            }
        case .pause(let process, let threads):
            pause = VMMPause(process, threads: threads)
            send(.done)
        case .progress:
            send(.progress(calls.map { .ready($0.machine) } ?? follower?.progress ?? .starting))
        case .watchCalls:
            guard case .ready(let machine)? = follower?.progress else { break }
            let watch = CallWatch(machine)
            calls = watch
            for thread in threads { thread.calls = watch }
        case .standstills:
            _ = meter.tell()
            send(.standstills(count: meter.count, last: meter.last, total: meter.total))
        case .memory(let regions):
            guard let first = threads.first else { break }
            let memory = AttachedMemory(
                process: first.process, map: GuestMemoryMap(regions: regions, source: .none))
            self.memory = memory
            for thread in threads { thread.memory = memory }
        case .patch(let gpa, let patch, let hidden):
            if let memory, let process { ledger.note(gpa, patch, hiding: hidden, memory, process) }
        case .synchronise(let mask):
            syncMask = mask
            for thread in threads { thread.synchronise(mask) }
        case .unpatch(let gpa, let count):
            if let process { ledger.forget(gpa, count: Int(count), process) }
        case .add(let vcpus):
            let pidfd = clinux_pidfd_open(process ?? -1)
            defer { if pidfd >= 0 { close(pidfd) } }
            do throws(HostGuestError) {
                guard let process else {
                    throw HostGuestError(.tracer, "the tracer is attached to no guest")
                }
                try add(vcpus, process, pidfd)
                send(.attached(threads.suffix(vcpus.count).map(\.validRegisters)))
            } catch {
                send(.refused(error))
            }
        case .detach:
            let pages = UInt16(clamping: threads.count)
            let (traced, armed, patches) = putBackAndDetach()
            send(
                .released(
                    threads: traced, guestDebug: armed, pages: pages, patches: UInt32(clamping: patches),
                    stood: meter.tell()))
            return false
        }
        return true
    }

    // MARK: Acts

    private func attach(_ process: Int32, _ mappingSize: Int, _ syncMask: UInt64, _ vcpus: [TracedVCPU])
        throws(HostGuestError)
    {
        guard threads.isEmpty else {
            throw HostGuestError(.tracer, "the tracer is attached to a guest already")
        }
        let pidfd = clinux_pidfd_open(process)
        guard pidfd >= 0 else {
            throw pidfd == -ESRCH
                ? HostGuestError(.noProcess, "there is no process \(process)")
                : HostGuestError.denied(
                    "process \(process) cannot be opened (\(String(cString: strerror(-pidfd))))")
        }
        defer { close(pidfd) }
        if claim == nil { claim = try DebuggerClaim(process) }
        self.process = process
        self.mappingSize = mappingSize
        self.syncMask = syncMask
        try add(vcpus, process, pidfd)
        guard isFollowing, let follower else { return }
        isFollowing = false
        let waiting = follower.handOver(Set(vcpus.map(\.thread)), pendingDetaches(of: process))
        for thread in threads { thread.adopt(isAtRun: waiting.contains(thread.thread)) }
        try waitForAll()
    }

    /// Takes on vCPUs, all or none, and stops nothing.
    private func add(_ vcpus: [TracedVCPU], _ process: Int32, _ pidfd: Int32) throws(HostGuestError) {
        let maps = ProcessFiles(process).text("maps").map(AddressMap.init)
        var made = [TracedThread]()
        for vcpu in vcpus {
            guard let address = maps?.runArea(ofVCPU: Int(vcpu.id))?.start else {
                throw HostGuestError.denied("where the VMM has mapped vCPU \(vcpu.id) cannot be found out")
            }
            let descriptor = clinux_pidfd_getfd(pidfd, vcpu.descriptor)
            guard descriptor >= 0 else {
                throw HostGuestError.denied(
                    "the descriptor of vCPU \(vcpu.id) may not be fetched (\(String(cString: strerror(-descriptor))))"
                )
            }
            defer { close(descriptor) }
            made.append(
                TracedThread(
                    process: process, vcpu: vcpu,
                    page: try SharedRunPage(descriptor: descriptor, size: mappingSize),
                    pageAddress: address, meter: meter))
        }
        let first = threads.count
        threads += made
        meter.grew()
        for (index, thread) in made.enumerated() {
            thread.memory = memory
            thread.ledger = ledger
            thread.calls = calls
            thread.place = records.map { .init(records: $0, index: first + index) }
            thread.synchronise(syncMask)
            thread.inheritCompletion()
        }
    }

    /// Stops all vCPUs, or none, if that fails.
    func stopAll() throws(HostGuestError) {
        do throws(HostGuestError) {
            try holdNonVCPUThreads()
            for thread in threads where !thread.isAbsent { try thread.requestStop() }
            try waitForAll()
            try mount()
            for thread in threads { try thread.checkFilter() }
        } catch {
            for thread in threads {
                thread.stopWanted = false
                thread.resume(.run)
            }
            resumeNonVCPUThreads(threads.indices.map { .init(index: UInt16($0), mode: .run, plan: nil) })
            throw error
        }
    }

    func waitForAll() throws(HostGuestError) {
        var budget = ThreadWait(Self.limit)
        while let late = threads.first(where: \.isGoing) {
            let any = collectStops()
            if !late.isGoing { continue }
            if budget.isOver(for: late.thread, of: late.process) {
                let files = ProcessFiles(late.process)
                if files.isEnding(thread: late.thread) { throw .ended(late.process) }
                throw HostGuestError(
                    .notRunning,
                    "vCPU \(late.vcpu.id) (thread \(late.thread), \(files.place(of: late.thread))) "
                        + "does not stop within 2 s",
                    remedy: "its thread is deep in the kernel or the host is overloaded; try again")
            }
            if budget.spent > Self.waitLimit {
                for thread in threads where thread.isGoing && !thread.isImpatient {
                    thread.isImpatient = true
                    thread.interrupt()
                }
            }
            if !any { _ = clinux_next_signal(5_000_000) }
        }
    }

    /// Takes in what the threads have to say. True if there was anything.
    func collectStops() -> Bool {
        if isFollowing { return follower?.collect() ?? false }
        var any = collectNonVCPUThreads()
        if collectPendingDetaches() { any = true }
        let going = threads.count(where: \.isGoing)
        for (index, thread) in threads.enumerated() {
            switch thread.state {
            case .held where thread.isAbsent: continue
            case .going, .held, .away, .lost: break
            case .untraced, .gone: continue
            }
            var status: Int32 = 0
            let result =
                going == 1 && thread.plan != nil
                ? thread.stepOn(&status) : clinux_wait(thread.thread, &status, 0)
            if result == 0 { continue }
            any = true
            guard result > 0 else {
                followExec()
                thread.leave(.ended)
                send(.event(TracerReply.Event(index: UInt16(index), standing: .gone, stood: 0, page: [])))
                continue
            }
            let stop = TracedThread.Stop(status: status)
            if case .lost = thread.state {
                takeEnd(of: thread, stop, status)
                continue
            }
            guard let stop else {
                thread.go(.free)
                continue
            }
            if var event = thread.handle(stop) {
                event.index = UInt16(index)
                send(.event(event))
            }
        }
        return any
    }
}

/// The tracer as a program.
public enum TracerProcess {
    /// The hidden argument that makes an executable be the tracer. Its socket is descriptor 3, its records are 4.
    public static let argument = "--attach-tracer"

    /// Serves on descriptor 3 until its other end is gone; call it first of all where the argument is given.
    public static func main() {
        _ = clinux_name_thread(HostGuest.tracerName)
        let records = ThreadRecords(descriptor: HelperProgram.shared)
        close(HelperProgram.shared)
        Tracer(socket: HelperProgram.socket, records: records).serve()
    }
}
