import Disassembler
import KVMCore
import X86

extension Debugger {
    func driver(_ id: Int) throws(DebuggerError) -> VCPUDriver {
        if let driver = drivers.first(where: { $0.id == id }) { return driver }
        throw DebuggerError(
            .noVCPU, "there is no vCPU \(id)",
            remedy: "there are " + drivers.map { "\($0.id)" }.joined(separator: ", "))
    }

    func checkCount(_ count: Int) throws(DebuggerError) {
        guard count >= 1 else {
            throw DebuggerError(
                .outOfRange, "\(count) is not a number of instructions", remedy: "give 1 or more")
        }
    }

    /// The selected vCPU's driver, if it can be let go.
    func startable() throws(DebuggerError) -> VCPUDriver {
        try checkAttached()
        guard !isRunning else {
            throw DebuggerError(.running, "the guest runs already", remedy: "stop it first")
        }
        returnToPresent()
        turns = nil
        let driver = try driver(selectedVCPU)
        guard canGoOn(driver) else {
            throw DebuggerError(
                .refused, "vCPU \(driver.id) is dead and cannot go on", remedy: "set its registers first")
        }
        return driver
    }

    func canGoOn(_ driver: VCPUDriver) -> Bool {
        driver.snapshot.activity != .dead || target is any ExitForwarding
    }

    /// The vCPUs that go on a `continue`.
    func awake() -> [VCPUDriver] {
        let alive = drivers.filter(canGoOn)
        let awake = alive.filter { !$0.isParked }
        return awake.isEmpty ? alive : awake
    }

    /// Lets go; `selected` is for the selected vCPU, the others run freely.
    ///
    /// - Parameters:
    ///   - isAwaited: the stop is collected at once, by the same caller.
    ///   - id: the selected vCPU, where that is not the one that commands are about.
    func go(
        _ drivers: [VCPUDriver], selected mission: Mission, of id: Int? = nil, isAwaited: Bool = false
    ) throws(DebuggerError) {
        if drivers.count == 1, drivers[0].snapshot.activity == .waiting {
            throw DebuggerError(
                .refused, "vCPU \(drivers[0].id) waits for INIT and SIPI from another vCPU",
                remedy: "select another one, or `continue` all")
        }
        prepareBreakpoints()
        for driver in drivers { driver.mission = driver.id == id ?? selectedVCPU ? mission : .run }
        orderedStep = nil
        let only = drivers.count == 1 ? self.drivers.firstIndex { $0 === drivers[0] } : nil
        orders = drivers.map { RunOrder(vcpu: $0.id, controller: $0) }
        orderedAlone = only
        try resume(only, stepper: mission.steps ? id ?? selectedVCPU : nil, isAwaited: isAwaited)
    }

    /// Steps the selected vCPU. The short way, for a program steps more often than it does anything else: what another
    /// processor has just written, and that is all of a driver, is not looked at.
    func goStepping(count: Int, isAwaited: Bool) throws(DebuggerError) {
        guard orderedStep == count, let place = orderedAlone, armedSet != nil, !isRunning, !isRevisiting,
            meter == nil, stop.vcpus[place].id == selectedVCPU, stop.vcpus[place].activity == .stopped
        else {
            let driver = try startable()
            try go([driver], selected: .step(count: count), isAwaited: isAwaited)
            orderedStep = count
            return
        }
        // The same order as before.
        if !table.watches.isEmpty { prepareBreakpoints() }
        try resume(place, stepper: selectedVCPU, isAwaited: isAwaited)
    }

    /// Lets go as ``orders`` say.
    private func resume(_ only: Int?, stepper: Int?, isAwaited: Bool) throws(DebuggerError) {
        let started = monotonicTime()
        do {
            if isAwaited, let synchronous {
                report = try synchronous.run(orders)
                if let only { drivers[only].prefetch() }
            } else {
                try target.resume(orders)
            }
        } catch {
            order = nil
            throw DebuggerError("letting the guest go", error)
        }
        order = Order(started: started, only: only, stepper: stepper)
        if !live.isEmpty { live = [:] }
    }

    func startOneNext() throws(DebuggerError) {
        let driver = try driver(selectedVCPU)
        let snapshot = driver.snapshot
        let decoded = Self.decodeNext(snapshot, view(of: snapshot))
        guard let instruction = decoded, Self.isSteppedOver(instruction) else {
            return try go([driver], selected: .step(count: 1))
        }
        let after = snapshot.special.linear(.cs, instruction.next, mode: snapshot.mode)
        let pushes = instruction.traits.contains(.call) || instruction.traits.contains(.interrupt)
        let frame = Destination.Frame(pointer: snapshot.registers.rsp, base: snapshot.special.ss.base)
        let destination = Destination(
            linear: after, frame: pushes ? frame : nil, bySteps: !hasFreeRegister(for: after),
            reason: .step(count: 1))
        var all = awake()
        if !all.contains(where: { $0 === driver }) { all.append(driver) }
        try go(all, selected: .until(destination))
    }

    /// Calls, interrupts, LOOP, HLT and repeated string instructions: `next` runs to the instruction after.
    private static func isSteppedOver(_ instruction: Instruction) -> Bool {
        !instruction.traits.isDisjoint(with: [.call, .interrupt, .loop, .halt])
            || instruction.traits.isSuperset(of: [.string, .rep])
    }

    func hasFreeRegister(for linear: UInt64) -> Bool {
        table.hasRegister(for: linear)
    }

    func wait() throws(DebuggerError) -> Stop {
        while !(try collect(timeout: nil)) {}
        return stop
    }

    /// Makes the new current stop.
    func finish(_ report: consuming StopReport, _ running: Order, steps: Int) {
        var vcpus: [VCPUSnapshot] = []
        swap(&vcpus, &spare)
        if let only = running.only, vcpus.count == stop.vcpus.count {
            for place in vcpus.indices where place != only { vcpus[place] = stop.vcpus[place] }
        } else {
            vcpus = stop.vcpus
        }
        takeInNewVCPUs(&vcpus)
        var findings = Findings(reason: report.reason)
        if let only = running.only {
            findings.take(drivers[only], isReporter: true)
            vcpus[only] = drivers[only].snapshot
        } else {
            for (place, driver) in drivers.enumerated() {
                findings.take(driver, isReporter: vcpus[place].id == report.vcpu)
                vcpus[place] = driver.snapshot
            }
        }
        // What was measured is the last part of an order that has several.
        let measured = running.total > 1 || turns != nil ? nil : report.measured
        let exits = measured.map { exitsBefore &+ $0.exits } ?? target.exits.total
        if let withholding {
            if findings.reason == .interrupted { findings.reason = .withheld(withholding) }
            self.withholding = nil
        }
        // The user's wish is about no vCPU; anything else is about one, which is looked at from here on.
        let isAsked = findings.reason == .interrupted
        if !isAsked { selectedVCPU = report.vcpu }
        if case .step = findings.reason, running.total > 1, turns == nil {
            findings.reason = .step(count: running.total)
        }
        turns = nil
        var next = Stop(
            number: stop.number + 1, vcpu: isAsked ? selectedVCPU : report.vcpu, reason: findings.reason,
            vcpus: vcpus,
            exitsSince: exits &- exitsBefore,
            elapsed: .nanoseconds(
                Int64(clamping: measured?.time ?? monotonicTime() &- running.started)),
            steps: steps, passedHalt: findings.passedHalt, standstill: standstillBefore())
        next.steppedTwo = findings.steppedTwo
        next.spread = spreadOfStop()
        if let failure = findings.conditionFailure { next.conditionFailure = failure }
        if !findings.caught.isEmpty { next.caught = findings.caught }
        follow(with: &next)
        exitsBefore = exits
        settleBreakpoints(findings.hits)
    }

    /// vCPUs that others have made since the last stop stand still with the rest.
    private func takeInNewVCPUs(_ vcpus: inout [VCPUSnapshot]) {
        takeInNewDrivers()
        for driver in drivers.dropFirst(vcpus.count) { vcpus.append(driver.snapshot) }
    }

    private func takeInNewDrivers() {
        guard let appearing, appearing.vcpuCount > drivers.count,
            let all = try? Self.drivers(of: target, beside: drivers, patching)
        else { return }
        for driver in all.dropFirst(drivers.count) { driver.armedSet = armedSet ?? .none }
        drivers = all
    }

    /// A vCPU that has come while all run is driven as the others are.
    func driverForNewcomer(_ id: Int) -> (any RunController)? {
        takeInNewDrivers()
        guard let driver = drivers.first(where: { $0.id == id }) else { return nil }
        driver.mission = .run
        orderedAlone = nil
        order?.only = nil
        return driver
    }
}

/// What the drivers have to say at a stop.
private struct Findings {
    var reason: StopReason
    var passedHalt = false
    var steppedTwo = false
    /// Numbers of breakpoints, watchpoints and catchpoints that were come to.
    var hits: [Int] = []
    var caught: [CaughtEvent] = []
    var conditionFailure: DebuggerError?

    init(reason: StopReason) { self.reason = reason }

    /// - Parameter isReporter: the stop is about this one's vCPU.
    mutating func take(_ driver: VCPUDriver, isReporter: Bool) {
        steppedTwo = steppedTwo || driver.steppedTwo
        if driver.isLost, case .interrupted = reason {
            // The others were asked to stop because of it.
            reason = .stepLost(.interrupted)
        }
        if !driver.events.caught.isEmpty {
            let events = driver.takeEvents()
            hits += events.map(\.number)
            if isReporter { caught = events }
            if isReporter, case .caught = reason { reason = .caught(events) }
        }
        if driver.hasHits {
            let found = driver.takeHits()
            // Another vCPU may have come to a breakpoint at the same time: that counts too.
            hits += found.breakpoints + found.watches.map(\.number)
            if isReporter, !found.watches.isEmpty, case .watchpoint = reason {
                reason = .watchpoint(found.watches)
            }
            if isReporter, !found.breakpoints.isEmpty, case .breakpoint = reason {
                reason = .breakpoint(found.breakpoints.sorted())
            }
            if isReporter { conditionFailure = found.failure }
        }
        guard isReporter else { return }
        passedHalt = driver.passedHalt
        if reason.isDeadly { driver.snapshot.activity = .dead }
        if let failure = driver.failure { reason = .failed(failure) }
    }
}

extension VCPUSnapshot {
    /// What a vCPU that stands still says of itself.
    init(reading vcpu: any VCPUAccess, id: Int) throws(KVMError) {
        self.init(
            id: id, registers: try vcpu.registers(), special: try vcpu.specialRegisters(),
            activity: Activity(try vcpu.mpState()))
    }
}
