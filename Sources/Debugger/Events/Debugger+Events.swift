import KVMCore

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
            let number = table.takeNumber()
            let entry = BreakpointTable.Entry(
                breakpoint: Breakpoint(
                    number: number, kind: .event, address: .linear(0), linear: nil, event: event,
                    isTemporary: isTemporary, condition: condition, mechanism: mechanism),
                state: BreakpointState(number: number, far: nil, condition: expression))
            table.append(entry)
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
                    remedy: "`break` at the code that does it")
            case .interrupt, .exception, .modeSwitch, .msr, .control: return .stepping
            }
        }
        switch try deliverer.delivery(of: event) {
        case .exit: return .exit
        case .msrFilter: return .msrFilter
        case .stepping: return .stepping
        }
    }

    /// What no target can do.
    private func check(_ event: CatchEvent) throws(DebuggerError) {
        switch event {
        case .exit(.debug):
            throw DebuggerError(
                .refused, "DEBUG exits are made by the debugger itself",
                remedy: "`break`, `watch` or `step` cause them")
        case .exit(.intr):
            throw DebuggerError(
                .refused, "INTR exits come of signals to the vCPU's thread, not of the guest",
                remedy: "`stop` stops the guest")
        case .mmio(let range):
            let memory = target.memory.regions.first { region in
                !region.isReadOnly && range.lowerBound < region.gpa &+ region.size
                    && range.upperBound >= region.gpa
            }
            guard let memory else { return }
            throw DebuggerError(
                .refused,
                "there is memory from \(hex(memory.gpa)) to \(hex(memory.gpa &+ memory.size &- 1)): accesses to it do "
                    + "not leave the guest", remedy: "`watch` stops at accesses to memory")
        default: break
        }
    }

    /// Makes the VM exit at the MSRs that are caught, and at no others.
    func trapMSRs() throws(DebuggerError) {
        let wanted = table.events.trappedMSRs
        guard wanted != trappedMSRs, let trap = patching.msrTrap else { return }
        do {
            try trap.trapMSRWrites(wanted)
        } catch {
            throw DebuggerError("setting the MSR filter", error)
        }
        trappedMSRs = wanted
    }

    // MARK: magic breakpoint

    /// Whether `xchg bx, bx` stops the guest, as in Bochs. Found by stepping: while it is on, the guest runs slowly.
    public var hasMagicBreakpoint: Bool { table.isMagic }

    public func setMagicBreakpoint(_ isOn: Bool) throws(DebuggerError) {
        guard table.isMagic != isOn else { return }
        try changing { () throws(DebuggerError) in table.isMagic = isOn }
    }

    // MARK: port 0x8A00

    /// Does what the guest asked for, and lets it go on; false where it is to stop.
    func answer(_ report: inout StopReport, _ running: Order) throws(DebuggerError) -> Bool {
        guard case .ioDebug(let request) = report.reason, request != .stop,
            let place = drivers.firstIndex(where: { $0.id == report.vcpu })
        else { return false }
        let driver = drivers[place]
        order = nil
        for driver in drivers where orders.contains(where: { $0.vcpu == driver.id }) {
            if let index = stop.vcpus.firstIndex(where: { $0.id == driver.id }) {
                stop.vcpus[index] = driver.snapshot
            }
        }
        switch request {
        case .stop: break
        case .watch(let range):
            let place = Address.physical(range.lowerBound)
            let watch =
                (try? setWatchpoint(at: place, length: range.count, access: .both))
                ?? (try? setWatchpoint(at: place, length: range.count, access: .write))
            guard let watch else { return false }
            watchedByGuest.append(watch.number)
        case .unwatch:
            for number in watchedByGuest where (try? breakpoint(number)) != nil {
                try deleteBreakpoint(number)
            }
            watchedByGuest = []
            try setTracing(false)
        case .trace(let trace): try setTracing(!trace.isEmpty)
        }
        var mission = driver.mission
        var total = running.total
        if case .step(let count) = mission {
            if total == 1 { total = count }
            guard driver.steps < count else {
                report.reason = .step(count: total)
                return false
            }
            mission = .step(count: count - driver.steps)
        }
        let selected = drivers.first { $0.id == selectedVCPU }?.mission ?? .run
        let gone = drivers.filter { driver in
            orders.contains { $0.vcpu == driver.id } && !driver.isParked
        }
        let turn = turns?.vcpu
        try go(gone, selected: driver.id == turn ?? selectedVCPU ? mission : selected, of: turn)
        order?.started = running.started
        order?.remaining = running.remaining
        order?.total = total
        order?.steps = running.steps &+ driver.steps
        return true
    }
}
