import Commands
import DebugTarget
import Debugger

/// Resuming the guest. All stop, all go: a step moves one vCPU, and the others are stopped meanwhile.
extension RemoteSession {
    /// What a thread is to do.
    private enum Action {
        case go
        case step
        case stepOut(of: Range<UInt64>)
        case stay
    }

    /// `vCont;ACTION[:THREAD];…`: for each thread the first that is about it counts.
    func resume(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        var actions: [(action: Action, threads: ThreadChoice)] = []
        repeat {
            let action = try action(&reader)
            var threads = ThreadChoice.all
            if reader.skip(":") {
                guard let choice = reader.thread() else { throw .malformed("thread") }
                threads = choice
            }
            actions.append((action, threads))
        } while reader.skip(";")
        guard reader.isAtEnd else { throw .malformed("resume") }
        for case .one(let thread) in actions.map(\.threads) { _ = try vcpu(of: thread) }

        var going: Set<Int> = []
        let all = debugger.target.vcpus.map(\.id)
        for id in [vcpu] + all where all.contains(id) {
            let chosen = actions.first { entry in
                switch entry.threads {
                case .all, .any: true
                case .one(let thread): thread == id + 1
                }
            }
            switch chosen?.action {
            case .step?: return try start(of: id) { () throws(DebuggerError) in try debugger.startStep() }
            case .stepOut(let range)?:
                return try start(of: id, settles: true) { () throws(DebuggerError) in
                    try debugger.startStep(outOf: range)
                }
            case .go?: going.insert(id)
            case .stay?, nil: break
            }
        }
        return try go(going, all)
    }

    private func go(_ going: Set<Int>, _ all: [Int]) throws(RemoteFailure) -> RemoteReply {
        // `vCont;t`: they are stopped, and that is the answer; one that the session's user resumed is stopped for it.
        guard let first = going.min() else { return firstStop() }
        return try start(of: going.contains(vcpu) ? vcpu : first, settles: true) {
            () throws(DebuggerError) in
            if going.count == all.count {
                try debugger.startContinue()
            } else {
                try debugger.startContinue(vcpus: going)
            }
        }
    }

    private func action(_ reader: inout PacketReader) throws(RemoteFailure) -> Action {
        switch reader.take() {
        case UInt8(ascii: "c"): return .go
        case UInt8(ascii: "s"): return .step
        case UInt8(ascii: "t"): return .stay
        case UInt8(ascii: "C"):
            _ = try signal(&reader)
            return .go
        case UInt8(ascii: "S"):
            _ = try signal(&reader)
            return .step
        case UInt8(ascii: "r"):
            guard let start = reader.number(), reader.skip(","), let end = reader.number() else {
                throw .malformed("range to step in")
            }
            // An empty one is a step, as the manual says.
            return start < end ? .stepOut(of: start..<end) : .step
        default: throw .malformed("action")
        }
    }

    /// A guest has no signals: which one it is does not matter.
    private func signal(_ reader: inout PacketReader) throws(RemoteFailure) -> UInt64 {
        guard let number = reader.number() else { throw .malformed("signal") }
        return number
    }

    /// `c`, `s`, `C` and `S`, with an address to go on at.
    func resumeOld(_ reader: inout PacketReader, steps: Bool, hasSignal: Bool) throws(RemoteFailure)
        -> RemoteReply
    {
        if hasSignal {
            _ = try signal(&reader)
            if !reader.isAtEnd, !reader.skip(";") { throw .malformed("resume") }
        }
        var id = vcpu
        if case .one(let thread) = resumed { id = try vcpu(of: thread) }
        if !reader.isAtEnd {
            guard let address = reader.number(), reader.isAtEnd else { throw .malformed("address") }
            guard let place = layout.registers.first(where: { $0.source == .place }) else {
                throw .malformed("address")
            }
            let bytes = (0..<place.size).map { UInt8(truncatingIfNeeded: address >> UInt64($0 * 8)) }
            try attempt { () throws(DebuggerError) in try bank.set(place, bytes, vcpu: id) }
        }
        guard !steps else {
            return try start(of: id) { () throws(DebuggerError) in try debugger.startStep() }
        }
        let all = debugger.target.vcpus.map(\.id)
        if case .one = resumed { return try go([id], all) }
        return try go(Set(all), all)
    }

    /// Resumes the guest, and waits for its stop.
    /// - Parameter settles: breakpoints that the client took out are deleted before. One step meets none of them.
    private func start(
        of id: Int, settles: Bool = false, _ body: () throws(DebuggerError) -> Void
    ) throws(RemoteFailure) -> RemoteReply {
        if let stop = stopInsteadOfResuming() { return .bytes(stopReply(stop)) }
        guard !session.isRunning else {
            // The session's user was faster. The client hears of the next stop, which is made here if it wants a step.
            waiting = .stop
            if !settles { debugger.interrupt() }
            return .later
        }
        do throws(DebuggerError) {
            if settles { try breakpoints.settle() }
            try debugger.select(vcpu: id)
            try session.resume(for: client.rawValue, body)
        } catch {
            throw failure(error)
        }
        waiting = .stop
        return .later
    }

    /// A client that was told of a new layout resumes to hear of the stop itself. GDB, which takes the new layout for a
    /// new program and has forgotten that it stepped, may do so twice before it shows the stop: as long as it asks for
    /// nothing in between, it has not.
    private func stopInsteadOfResuming() -> Stop? {
        if let stop = postponed {
            postponed = nil
            repeated = (stop, 2)
            return stop
        }
        guard let (stop, left) = repeated else { return nil }
        repeated = left > 1 ? (stop, left - 1) : nil
        return stop
    }

    /// `?`: where the guest stands. One that runs is stopped for it.
    func firstStop() -> RemoteReply {
        guard session.isRunning else {
            vcpu = debugger.stop.vcpu
            return .bytes(stopReply(debugger.stop, reason: false))
        }
        waiting = .firstStop
        debugger.interrupt()
        return .later
    }

    // MARK: QEMU's modes of stepping

    private static let stepEnable: UInt64 = 1
    private static let stepNoInterrupts: UInt64 = 2

    /// What can be chosen: whether steps take interrupts. Timers go on in any case, as the clock is the host's.
    var stepBits: String { debugger.canHoldInterrupts ? "ENABLE=1,NOIRQ=2" : "ENABLE=1" }

    var stepMode: UInt64 {
        let holds = debugger.canHoldInterrupts && !debugger.takesInterruptsWhileStepping
        return Self.stepEnable | (holds ? Self.stepNoInterrupts : 0)
    }

    func setStepMode(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        _ = reader.skip("0x")
        guard let mode = reader.number(), reader.isAtEnd else { throw .malformed("mode of stepping") }
        let known = Self.stepEnable | (debugger.canHoldInterrupts ? Self.stepNoInterrupts : 0)
        guard mode & Self.stepEnable != 0, mode & ~known == 0 else {
            throw RemoteFailure(.malformed, "modes of stepping here: \(stepBits)")
        }
        debugger.takesInterruptsWhileStepping = mode & Self.stepNoInterrupts == 0
        return .ok
    }
}
