import DebugTarget
import Disassembler
import KVMCore
import X86

extension Debugger {
    func vcpu(_ id: Int) throws(DebuggerError) -> DebuggedVCPU {
        if let vcpu = vcpus.first(where: { $0.id == id }) { return vcpu }
        throw DebuggerError(
            .noVCPU, "there is no vCPU \(id)",
            remedy: "there are " + vcpus.map { "\($0.id)" }.joined(separator: ", "))
    }

    func checkCount(_ count: Int) throws(DebuggerError) {
        guard count >= 1 else {
            throw DebuggerError(
                .outOfRange, "\(count) is not a number of instructions", remedy: "give 1 or more")
        }
    }

    /// The selected vCPU, if it can be resumed.
    func startable() throws(DebuggerError) -> DebuggedVCPU {
        try checkAttached()
        guard !isRunning else {
            throw DebuggerError(.running, "the guest runs already", remedy: "stop it first")
        }
        returnToPresent()
        if isAtReset { lostAtRestart = try restart().lost }
        let vcpu = try vcpu(selectedVCPU)
        guard canGoOn(vcpu) else {
            throw DebuggerError(
                .refused, "vCPU \(vcpu.id) is dead and cannot go on", remedy: "set its registers first",
                advice: isRestartable ? .startAgain : nil)
        }
        return vcpu
    }

    func canGoOn(_ vcpu: DebuggedVCPU) -> Bool {
        vcpu.snapshot.activity != .dead || target is any ExitForwarding
    }

    /// The vCPUs that go on at a `continue`.
    func awake() -> [DebuggedVCPU] {
        let alive = vcpus.filter(canGoOn)
        let awake = alive.filter { !$0.last.isParked }
        return awake.isEmpty ? alive : awake
    }

    /// Resumes vCPUs; `selected` is for the selected vCPU, the others run freely.
    ///
    /// - Parameters:
    ///   - id: the selected vCPU, where that is not the one that commands are about.
    ///   - progress: of the order that this is a further part of.
    func go(
        _ vcpus: [DebuggedVCPU], selected plan: ThreadPlan, of id: Int? = nil,
        _ progress: OrderProgress = OrderProgress()
    ) throws(DebuggerError) {
        if vcpus.count == 1, vcpus[0].snapshot.activity == .waiting, try !wasStarted(vcpus[0]) {
            throw DebuggerError(
                .refused, "vCPU \(vcpus[0].id) waits for INIT and SIPI from another vCPU",
                advice: .selectOrContinue)
        }
        let planned = id ?? selectedVCPU
        for vcpu in vcpus where vcpu.last.isParked { try wake(vcpu) }
        for vcpu in vcpus { vcpu.driver.give(vcpu.id == planned ? plan : .run) }
        try resume(vcpus, stepper: plan.steps ? planned : nil, progress)
    }

    /// Whether a vCPU that waited for INIT and SIPI has got them meanwhile, from one that alone was stepped. The kernel
    /// takes them in when it is asked (KVM_GET_MP_STATE).
    private func wasStarted(_ vcpu: DebuggedVCPU) throws(DebuggerError) -> Bool {
        let driver = vcpu.driver
        let started = try call(vcpu.id, "asking for INIT and SIPI") { access -> VCPUSnapshot? in
            guard VCPUSnapshot.Activity(try access.mpState()) != .waiting else { return nil }
            return try driver.edited(access, activity: .stopped, running: false)
        }
        guard let started else { return false }
        vcpu.edited(started)
        if let place = stop.place(of: vcpu.id) { stop.vcpus[place] = started }
        return true
    }

    /// A vCPU that sleeps in the kernel goes on after its HLT, because the user steps it.
    private func wake(_ vcpu: DebuggedVCPU) throws(DebuggerError) {
        _ = try call(vcpu.id, "waking it") { access in
            if try access.mpState() == .halted { try access.setMPState(.runnable) }
        }
    }

    /// Resumes vCPUs for what they were given.
    func resume(
        _ vcpus: [DebuggedVCPU], stepper: Int?, _ progress: OrderProgress
    ) throws(DebuggerError) {
        prepareBreakpoints()
        let only = vcpus.count == 1 ? self.vcpus.firstIndex { $0 === vcpus[0] } : nil
        do {
            try target.resume(vcpus.map { RunOrder(vcpu: $0.id, controller: $0.driver) })
        } catch {
            order = nil
            throw DebuggerError("resuming the guest", error)
        }
        order = Order(vcpus: vcpus.map(\.id), only: only, stepper: stepper, progress: progress)
        live.forgetRegisters()
    }

    func startOneNext(_ progress: OrderProgress) throws(DebuggerError) {
        let vcpu = try vcpu(selectedVCPU)
        let snapshot = vcpu.snapshot
        let decoded = Self.decodeNext(snapshot, view(of: snapshot))
        guard let instruction = decoded, Self.isSteppedOver(instruction) else {
            return try go([vcpu], selected: .step(count: 1), progress)
        }
        let after = snapshot.special.linear(.cs, instruction.next, mode: snapshot.mode)
        let pushes = instruction.traits.contains(.call) || instruction.traits.contains(.interrupt)
        let frame = Destination.Frame(pointer: snapshot.registers.rsp, base: snapshot.special.ss.base)
        let destination = Destination(
            linear: after, frame: pushes ? frame : nil, bySteps: !hasFreeRegister(for: after),
            reason: .step(count: 1))
        try go(withAwake(vcpu), selected: .until(destination), progress)
    }

    /// A vCPU and all that go on with it.
    func withAwake(_ vcpu: DebuggedVCPU) -> [DebuggedVCPU] {
        let all = awake()
        return all.contains { $0 === vcpu } ? all : all + [vcpu]
    }

    /// Calls, interrupts, LOOP, HLT and repeated string instructions: `next` runs to the instruction after.
    private static func isSteppedOver(_ instruction: Instruction) -> Bool {
        !instruction.traits.isDisjoint(with: [.call, .interrupt, .loop, .halt])
            || instruction.traits.isSuperset(of: [.string, .rep])
    }

    func hasFreeRegister(for linear: UInt64) -> Bool {
        placement.table.hasRegister(for: linear)
            && patching.fires(in: CodeContext(selected.registers, selected.special))
    }

    func wait() throws(DebuggerError) -> Stop {
        while true {
            if let stop = try collectStop(timeout: nil) { return stop }
        }
    }

    // MARK: the stop

    /// All vCPUs are stopped: what they came to is taken, and either a further part of the order begins or the stop is
    /// made.
    func take(_ report: StopReport) throws(DebuggerError) {
        // A vCPU that came while the report was waited for is in the order by now.
        guard var running = order else { return }
        var report = report
        if let sleeper = running.sleeper, report.reason == .interrupted, !running.progress.isInterrupted {
            report = StopReport(vcpu: sleeper, reason: .hlt)
        }
        var ended = EndedRun(report, running, vcpus)
        if running.sleeper != nil, report.reason == .hlt {
            for vcpu in vcpus where running.vcpus.contains(vcpu.id) && vcpu.snapshot.activity == .halted {
                vcpu.last.isParked = true
            }
        }
        running.progress.add(ended)
        if try answer(&report, running, ended) { return }
        let hasMore = running.progress.remaining > 0 || running.progress.turns != nil
        if running.progress.isInterrupted, hasMore, case .step = report.reason {
            report = StopReport(vcpu: report.vcpu, reason: .interrupted, measured: report.measured)
        }
        if running.progress.remaining > 0, case .step = report.reason, report.vcpu == selectedVCPU {
            // Of `next N`, one is over and the next begins where it ended.
            running.progress.remaining -= 1
            return try startOneNext(running.progress)
        }
        if try takeTurn(&report, &running) { return }
        if try tryInstruction(&report, running) { return }
        order = nil
        ended.report = report
        finish(ended, running)
    }

    /// Where a free run was interrupted at a software interrupt, that is stepped: KVM stays on one for ever and reports
    /// nothing, where its emulator runs the guest and lacks it. True if the step has begun.
    private func tryInstruction(_ report: inout StopReport, _ running: Order) throws(DebuggerError) -> Bool {
        var progress = running.progress
        if progress.isTrial {
            if case .step = report.reason {
                report = StopReport(vcpu: report.vcpu, reason: .interrupted)
            }
            return false
        }
        guard report.reason == .interrupted, running.withholding == nil, progress.isWhole,
            patching.endsStepsInHandlers, let vcpu = vcpus.first(where: { $0.id == report.vcpu }),
            (target as? any VCPUWithholding)?.withholding(vcpu: vcpu.id) == nil,
            canGoOn(vcpu), !vcpu.last.isLost, vcpu.snapshot.activity == .stopped,
            let instruction = Self.decodeNext(vcpu.snapshot, view(of: vcpu.snapshot)),
            instruction.traits.contains(.interrupt)
        else { return false }
        progress.isTrial = true
        try go([vcpu], selected: .step(count: 1), of: vcpu.id, progress)
        return true
    }

    /// Makes the new current stop.
    private func finish(_ ended: EndedRun, _ running: Order) {
        let report = ended.report
        takeInNewVCPUs()
        var reason = ended.reason
        if reason == .interrupted, let withholding = running.withholding { reason = .withheld(withholding) }
        // The user's wish is about no vCPU; anything else is about one, which is looked at from here on.
        let isAsked = reason == .interrupted
        if !isAsked { selectedVCPU = report.vcpu }
        let progress = running.progress
        if case .step = reason, progress.total > 1, progress.turns == nil {
            reason = .step(count: progress.total)
        }
        if let vcpu = vcpus.first(where: { $0.id == report.vcpu }), ended.reason.isDeadly {
            vcpu.last.snapshot.activity = .dead
        }
        if case .ended = report.reason {
            for vcpu in vcpus { vcpu.last.snapshot.activity = .unreachable }
        }
        // What was measured is the last part of an order that has several.
        let measured = progress.isWhole && !progress.isTrial ? report.measured : nil
        let exits = measured.map { account.exits &+ $0.exits } ?? target.exits.total
        var next = Stop(
            number: stop.number + 1, vcpu: isAsked ? selectedVCPU : report.vcpu, reason: reason,
            vcpus: vcpus.map(\.snapshot), exitsSince: account.exitsSince(exits),
            elapsed: .nanoseconds(
                Int64(clamping: measured?.time ?? monotonicTime() &- progress.started)),
            steps: progress.steps, passedHalt: ended.reporter?.passedHalt ?? false)
        if let meter = abilities.meter { account.take(meter.standstills, into: &next) }
        next.steppedTwo = progress.steppedTwo
        next.unsteppable = progress.unsteppable
        next.undoneCopies = progress.copies
        next.conditionFailure = ended.reporter?.conditionFailure
        next.caught = ended.reporter?.caught ?? []
        (next.lost, lostAtRestart) = (lostAtRestart, [])
        past.follow(&stop, with: next)
        settleBreakpoints(progress.hits)
    }

    /// vCPUs that others have made since the last stop are stopped with the rest.
    private func takeInNewVCPUs() {
        guard let appearing = abilities.appearing, appearing.vcpuCount > vcpus.count,
            let all = try? Self.vcpus(of: target, beside: vcpus, patching)
        else { return }
        for vcpu in all.dropFirst(vcpus.count) { vcpu.driver.give(placement.armed ?? .none) }
        vcpus = all
    }

    /// A vCPU that has come while all run is driven as the others are.
    func driverForNewcomer(_ id: Int) -> (any RunController)? {
        takeInNewVCPUs()
        guard let vcpu = vcpus.first(where: { $0.id == id }) else { return nil }
        vcpu.driver.give(ThreadPlan.run)
        order?.only = nil
        order?.vcpus.append(id)
        return vcpu.driver
    }
}

extension VCPUSnapshot {
    /// What a vCPU that is stopped says of itself.
    init(reading vcpu: any VCPUAccess, id: Int) throws(KVMError) {
        self.init(
            id: id, registers: try vcpu.registers(), special: try vcpu.specialRegisters(),
            activity: Activity(try vcpu.mpState()))
    }
}
