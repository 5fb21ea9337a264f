public import DebugTarget
import KVMCore
import X86

extension Debugger {
    /// Makes a catchpoint, which has its number among the breakpoints and is enabled, deleted and so on as they are.
    ///
    /// - Throws: `.refused` where this host, or this target, does not let such an event be seen.
    @discardableResult
    public func setCatchpoint(
        _ event: CatchEvent, isTemporary: Bool = false, condition: String? = nil
    ) throws(DebuggerError) -> Breakpoint {
        let expression = try condition.map { text throws(DebuggerError) in try self.condition(text) }
        let mechanism = try mechanism(of: event)
        return try changing { () throws(DebuggerError) in
            let number = placement.table.takeNumber()
            var breakpoint = Breakpoint(
                number: number, kind: .event, address: .linear(0), linear: nil, event: event,
                isTemporary: isTemporary, condition: condition, mechanism: mechanism)
            breakpoint.missesHandlers =
                mechanism == .stepping && !event.isHandlerItself && patching.missesHandlers(canHoldInterrupts)
            let entry = BreakpointTable.Entry(
                breakpoint: breakpoint,
                state: BreakpointState(number: number, far: nil, condition: expression))
            placement.table.append(entry)
            return entry.current
        }
    }

    /// How an event is caught here.
    func mechanism(of event: CatchEvent) throws(DebuggerError) -> Breakpoint.Mechanism {
        try check(event)
        guard let deliverer = target as? any EventDelivering else {
            switch event {
            // Its end is told to every debugger.
            case .tripleFault: return .exit
            case .io, .mmio, .exit, .hlt:
                throw DebuggerError(
                    .refused,
                    "the exits of \(target.name) go to the program that runs it, and are not seen here",
                    advice: .breakAtCode)
            case .firmware: return .exit
            case .interrupt, .exception, .modeSwitch, .msr, .control: return .stepping
            }
        }
        do throws(EventRefusal) {
            switch try deliverer.delivery(of: event) {
            case .exit: return .exit
            case .msrFilter: return .msrFilter
            case .stepping: return .stepping
            }
        } catch {
            throw DebuggerError(error)
        }
    }

    /// What no target can do.
    private func check(_ event: CatchEvent) throws(DebuggerError) {
        switch event {
        case .exit(.debug):
            throw DebuggerError(
                .refused, "DEBUG exits are made by the debugger itself",
                advice: .causedByDebugger)
        case .exit(.intr):
            throw DebuggerError(
                .refused, "INTR exits come of signals to the vCPU's thread, not of the guest",
                advice: .stopGuest)
        case .mmio(let range):
            let memory = target.memory.regions.first { region in
                !region.isReadOnly && range.lowerBound < region.gpa &+ region.size
                    && range.upperBound >= region.gpa
            }
            guard let memory else { return }
            throw DebuggerError(
                .refused,
                "there is memory from \(hex(memory.gpa)) to \(hex(memory.gpa &+ memory.size &- 1)): accesses to it do "
                    + "not leave the guest", advice: .watchMemory)
        case .firmware:
            guard (target as? any FirmwareProviding)?.firmware == nil else { return }
            throw DebuggerError(
                .refused, "\(target.name) has no BIOS whose calls could be seen", advice: .catchInterrupt)
        default: break
        }
    }

    /// Makes the VM exit at the MSRs that are caught, and at no others.
    func trapMSRs() throws(DebuggerError) {
        let wanted = placement.table.trappedMSRs
        guard wanted != placement.trappedMSRs, let trap = patching.msrTrap else { return }
        do {
            try trap.trapMSRWrites(wanted)
        } catch {
            throw DebuggerError("setting the MSR filter", error)
        }
        placement.trappedMSRs = wanted
    }

    // MARK: magic breakpoint

    /// Whether `xchg bx, bx` stops the guest, as in Bochs. Found by stepping: while it is on, the guest runs slowly.
    public var hasMagicBreakpoint: Bool { placement.table.isMagic }

    public func setMagicBreakpoint(_ isOn: Bool) throws(DebuggerError) {
        guard placement.table.isMagic != isOn else { return }
        try changing { () throws(DebuggerError) in placement.table.isMagic = isOn }
    }

    // MARK: port 0x8A00

    /// Does what the guest asked for, and resumes it; false where it is to stop.
    func answer(
        _ report: inout StopReport, _ running: Order, _ ended: EndedRun
    ) throws(DebuggerError) -> Bool {
        guard case .ioDebug(let request) = report.reason, request != .stop,
            let asking = vcpus.first(where: { $0.id == report.vcpu })
        else { return false }
        order = nil
        for outcome in ended.outcomes {
            if let index = stop.place(of: outcome.snapshot.id) { stop.vcpus[index] = outcome.snapshot }
        }
        guard try fulfill(request) else { return false }
        var progress = running.progress
        if case .step(let count) = asking.driver.plannedNext {
            let done = ended.reporter?.steps ?? 0
            // What the stop says in the end.
            if progress.total == 1 { progress.total = count }
            guard done < count else {
                report.reason = .step(count: progress.total)
                return false
            }
            asking.driver.give(.step(count: count - done))
        }
        let gone = vcpus.filter { running.vcpus.contains($0.id) && !$0.last.isParked }
        try resume(gone, stepper: running.stepper, progress)
        return true
    }

    /// False where it cannot be done.
    private func fulfill(_ request: IODebugPort.Request) throws(DebuggerError) -> Bool {
        switch request {
        case .stop: break
        case .watch(let range):
            let place = Address.physical(range.lowerBound)
            let watch =
                (try? setWatchpoint(at: place, length: range.count, access: .both))
                ?? (try? setWatchpoint(at: place, length: range.count, access: .write))
            guard let watch else { return false }
            placement.watchedByGuest.append(watch.number)
        case .unwatch:
            for number in placement.watchedByGuest where (try? breakpoint(number)) != nil {
                try deleteBreakpoint(number)
            }
            placement.watchedByGuest = []
            try setTracing(false)
        case .trace(let trace): try setTracing(!trace.isEmpty)
        }
        return true
    }
}

extension CatchEvent {
    /// It is found at a handler's first instruction, whose place is known before.
    fileprivate var isHandlerItself: Bool {
        switch self {
        case .interrupt, .exception: true
        default: false
        }
    }
}
