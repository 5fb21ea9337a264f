public import DebugTarget
import Glibc
public import Host
public import KVMCore
import Synchronization
import SystemPackage

/// A guest that another program runs, as a target.
///
/// It begins passive: the guest runs, its registers are read from the shared `kvm_run` and nothing is stopped. The
/// first order or edit that needs it stops the vCPUs. A tracer process does what needs ptrace; this
/// side decides. There is no thread here: what vCPUs report is taken in by ``waitForStop(timeout:)``, and
/// ``stopDescriptor`` polls readable when there is something to take in (which need not be a stop yet).
///
/// When the target goes, everything is put back and the VMM goes on untraced; the same when its process dies.
// SAFETY: as the contract of `Target` has it, one thread at a time uses it, which builds with assertions check
// (`ExclusiveUse`). `interrupt()` alone may be called from others at the same time, and uses an atomic and the locked
// client. `memory` is a value of its own, which is locked.
public final class AttachedTarget: Target, @unchecked Sendable {
    public let guest: HostGuest
    public let exits = ExitLog()
    public let debugAbilities: GuestDebug.Control
    let client: TracerClient
    public let attachedMemory: AttachedMemory
    let mapUpdater: MemoryMapUpdater
    var members: [AttachedVCPU]
    let host: HostAbilities
    let mappingSize: Int

    /// What the vCPUs are doing, as far as this side has arranged.
    enum Phase {
        /// The guest runs and nothing is traced.
        case passive
        /// All vCPUs are stopped.
        case held
        /// Some were resumed under controllers.
        case running
    }
    var phase = Phase.passive
    /// A run is on, from `resume` until its report is collected.
    var hasOrders = false
    var report: StopReport?
    private let exclusiveUse = ExclusiveUse()
    private let interruptIsWanted = Atomic<Bool>(false)
    /// As the tracer has measured it.
    public internal(set) var standstills = Standstills()
    public internal(set) var isDetached = false
    /// When the vCPUs last came to stop; monotonic nanoseconds, 0 if they never did.
    var heldSince: UInt64 = 0
    /// Why the kernel does not tell the memory map, where it does not.
    var mapMissing: [ValueSource.Missing] = []
    var statistics: StatisticsReaders?
    /// The vCPU that goes on alone while a step of its has patches lifted.
    var holder: Int?
    /// The tracer saw a change while that was so, and it has not been looked at.
    var isLookDue = false
    /// What others came to meanwhile.
    var deferred: [TracerReply.Event] = []
    /// Those that begin when it is done.
    var waiting: [(AttachedVCPU, any RunController)] = []
    /// The others could not be held for it.
    var holdFailure: HostGuestError?
    /// The order is for all vCPUs there are, so that those that come meanwhile go, too.
    var isForAll = false
    /// The bytes of the guest's memory that are patched, and with what.
    var patched: [UInt64: UInt8] = [:]
    public var newcomerController: ((Int) -> (any RunController)?)?
    public var patchesOverwritten: (() -> Void)?

    /// Attaches to a guest, with no stop of anything.
    ///
    /// - Parameters:
    ///   - guest: as ``GuestFinder`` found it.
    ///   - tracer: the program that can be the tracer.
    /// - Throws: `HostGuestError` for what forbids it, with the remedy.
    public convenience init(_ guest: HostGuest, tracer: TracerProgram = .current) throws {
        if let obstacle = guest.obstacle { throw obstacle }
        try self.init(guest, try TracerClient(tracer), launched: nil)
    }

    /// The same with a tracer that is on its way already.
    public convenience init(_ guest: HostGuest, tracer: StartedTracer) throws {
        if let obstacle = guest.obstacle { throw obstacle }
        try self.init(guest, tracer.client, launched: nil)
    }

    /// - Parameter launched: what a VMM that the tracer has started, and stopped at its first KVM_RUN, was seen to ask
    ///   for.
    init(_ found: HostGuest, _ client: TracerClient, launched: Launch?) throws {
        let guest = try found.withThreads(client)
        guard !guest.vcpus.isEmpty else {
            throw HostGuestError(.noGuest, "the guest of process \(guest.process) has no vCPU (yet)")
        }
        self.guest = guest
        let host = HostAbilities()
        self.host = host
        debugAbilities = host.debug
        let addresses = ProcessFiles(guest.process).text("maps").map(AddressMap.init)
        guard let first = guest.vcpus.first, let area = addresses?.runArea(ofVCPU: first.id) else {
            throw HostGuestError.denied(
                "where the VMM has mapped its vCPUs cannot be found out",
                remedy: "run kvmscope as the user that runs the VMM, or as root (CAP_SYS_PTRACE)")
        }
        client.open(guest.process)
        self.client = client
        self.launched = launched
        // A VMM may map more than there is: who touches that gets SIGBUS.
        let size = Int(min(area.size, host.runSize))
        mappingSize = size
        let traced = guest.vcpus.map { vcpu in
            TracedVCPU(id: Int32(vcpu.id), descriptor: vcpu.descriptor, thread: vcpu.thread ?? 0)
        }
        _ = try client.ask(
            .attach(
                process: guest.process, mappingSize: UInt32(size),
                syncMask: guest.isKnownToKernel ? host.sync : 0, vcpus: traced))
        members = try guest.vcpus.enumerated().map { index, vcpu in
            try AttachedVCPU(
                index: index, process: guest.process, vcpu: vcpu, client: client, mappingSize: size,
                xsaveSize: host.xsaveSize, hasRegisters: host.sync & 3 == 3)
        }
        let kernelMap = launched?.readsKernel == false ? nil : GuestMemoryMap.fromKernel(guest)
        attachedMemory = AttachedMemory(
            process: guest.process,
            map: GuestMemoryMap.best(kernelMap, launched?.machine) ?? .init(regions: [], source: .none))
        mapUpdater = MemoryMapUpdater(guest, client, attachedMemory, launched)
        if kernelMap == nil {
            mapMissing.append(GuestMemoryMap.whyNotFromKernel)
            if launched != nil { try client.tell(.watchCalls) }
        }
        try client.tell(.memory(attachedMemory.regions))
        if !guest.isKnownToKernel { try checkProtection() }
        if attachedMemory.source == .none { try searchMemory(addresses) }
        // Nothing of ours is to be written any more.
        client.onLoss { [attachedMemory] in attachedMemory.replace(.init(regions: [], source: .none)) }
        attachedMemory.onDoubt { [weak mapUpdater] in mapUpdater?.update() }
        if launched == nil {
            awaitRegisters()
        } else {
            try hold()
        }
    }

    let launched: Launch?

    /// A guest that exits now and then has left registers in the shared pages a moment later; then the first look
    /// at them stops nothing. Looks are counted, 20 ms of them on a quiet host: on a busy one both sides come later.
    private func awaitRegisters() {
        for _ in 0..<100 {
            let waiting = members.filter { $0.hasRegisters && !$0.checkForRegisters() && !$0.isAbsent }
            guard !waiting.isEmpty else { return }
            for member in waiting { _ = member.checkWithheld() }
            usleep(200)
        }
    }

    // MARK: Target

    public var name: String { "\(guest.name) (\(guest.vmm.rawValue), process \(guest.process))" }
    public var memory: any PhysicalMemory { attachedMemory }
    public var vcpus: [VCPUIdentity] { members.map(\.identity) }
    public var isRunning: Bool { hasOrders }
    public var stopDescriptor: Int32 { client.eventDescriptor }
    public var debugFacilities: DebugFacilities { .ofHost }

    public func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        exclusiveUse.enter()
        defer { exclusiveUse.leave() }
        let member = try member(id)
        // In the midst of a step with patches lifted nothing may be changed but between two KVM_RUNs.
        if holder != nil, phase == .running {
            try hold()
            defer { resumeHeldMeasured() }
            return try body(member.held)
        }
        switch phase {
        case .held: return try body(member.held)
        case .passive, .running:
            let access = PassiveVCPU(member, self)
            defer {
                // A controller that had found nothing to hold the others for has found it now.
                if !access.hasStopped, holder != nil, phase == .running { phase = .held }
                if access.hasStopped || holder != nil, phase == .held { resumeHeldMeasured() }
            }
            return try body(access)
        }
    }

    public func resume(_ orders: [RunOrder]) throws {
        exclusiveUse.enter()
        defer { exclusiveUse.leave() }
        guard !hasOrders else {
            throw HostGuestError(.tracer, "the guest runs", remedy: "stop it first")
        }
        guard !orders.isEmpty else { throw HostGuestError(.notRunning, "no vCPU is to run") }
        let chosen = try orders.map { (try member($0.vcpu), $0.controller) }
        interruptIsWanted.store(false, ordering: .sequentiallyConsistent)
        // Only a guest that runs as a whole can go on running as it does.
        if phase == .passive, chosen.count < members.count { try hold() }
        hasOrders = true
        report = nil
        nextGlance = ContinuousClock.now
        holder = nil
        isLookDue = false
        deferred = []
        isForAll = chosen.count == members.count
        waiting = chosen
        beginWaiting()
        if report == nil, phase == .held { resumeReady() }
    }

    public func interrupt() {
        interruptIsWanted.store(true, ordering: .sequentiallyConsistent)
        client.nudge()
    }

    public func waitForStop(timeout: Duration?) -> StopReport? {
        exclusiveUse.enter()
        defer { exclusiveUse.leave() }
        let clock = ContinuousClock()
        let start = clock.now
        var isBusy = false
        while true {
            if let report {
                self.report = nil
                hasOrders = false
                return report
            }
            guard hasOrders else { return nil }
            if interruptIsWanted.exchange(false, ordering: .sequentiallyConsistent) {
                finish(members.first { $0.isOut } ?? members[0], .interrupted)
                continue
            }
            // Of a guest that nobody traces no event tells the end.
            if phase == .passive, client.isVMMGone {
                lost(awaitEndOfVMM())
                continue
            }
            if phase != .held, clock.now >= nextGlance {
                nextGlance = clock.now + Self.glance
                stopAtDeadlyExit()
                if report != nil { continue }
            }
            var left = timeout.map { $0 - (clock.now - start) }
            left = min(left ?? Self.glance, Self.glance)
            // In the midst of stepping the next step is there sooner than the caller would come back.
            if isBusy, let limit = left, limit < Self.waitLimit { left = Self.waitLimit }
            if let timeout, isBusy, clock.now - start > timeout + Self.slice { return nil }
            do {
                guard let event = try client.nextEvent(timeout: left.map { max($0, .zero) }) else {
                    if client.takeChange() {
                        try lookAround()
                        continue
                    }
                    if let timeout, clock.now - start >= timeout { return reportIfInterrupted() }
                    continue
                }
                isBusy = true
                take(event)
            } catch {
                lost(error)
            }
        }
    }

    private static let waitLimit = Duration.milliseconds(1)
    /// How often a guest that runs is looked after.
    private static let glance = Duration.milliseconds(250)
    /// When it is to be looked at next.
    private var nextGlance = ContinuousClock.now
    private static let slice = Duration.milliseconds(10)

    /// An interrupt that came with the last message.
    private func reportIfInterrupted() -> StopReport? {
        guard interruptIsWanted.exchange(false, ordering: .sequentiallyConsistent) else { return nil }
        finish(members.first { $0.isOut } ?? members[0], .interrupted)
        guard let report else { return nil }
        self.report = nil
        hasOrders = false
        return report
    }

    // MARK: holding and letting go

    private func member(_ id: Int) throws(HostGuestError) -> AttachedVCPU {
        guard !isDetached else { throw Self.detachedError }
        guard let member = members.first(where: { $0.identity.id == id }) else {
            throw HostGuestError(
                .notRunning, "there is no vCPU \(id)",
                remedy: "there are " + members.map { "\($0.identity.id)" }.joined(separator: ", "))
        }
        return member
    }

    /// Stops all vCPUs.
    func hold() throws(HostGuestError) {
        guard phase != .held else { return }
        guard !isDetached else { throw Self.detachedError }
        guard case .stopped(let standings, let spread) = try client.ask(.stop) else {
            throw HostGuestError(.tracer, "the tracer did not answer the order to stop")
        }
        heldSince = monotonicTime()
        note(spread: spread)
        phase = .held
        for (member, standing) in zip(members, standings) { member.stood(standing) }
        learnThreads()
        if let gone = members.first(where: \.isGone), !outlives(gone) {
            throw awaitEndOfVMM()
        }
        try takeOnNewVCPUs()
        mapUpdater.update()
    }

    /// Lets those go on that were running before ``hold()``; events that came meanwhile are dealt with.
    func resumeHeld() {
        guard phase == .held else { return }
        if hasOrders, report == nil {
            driveNewcomers()
            phase = .running
            deferred += client.takeEvents()
            dealWithDeferred()
            if report == nil { resumeReady() }
        } else if !hasOrders {
            _ = client.takeEvents()
            go(members)
            phase = .passive
        }
    }

    /// - Precondition: they are stopped.
    func go(_ chosen: [AttachedVCPU]) {
        guard !chosen.isEmpty else { return }
        phase = .running
        mapUpdater.noteRun()
        do {
            try client.tell(
                .go(
                    chosen.map { member in
                        member.isStanding = false
                        member.began = monotonicTime()
                        let reports = hasOrders && member.controller?.seesHandledExits == true
                        return TracerRequest.Go(
                            index: UInt16(member.index), mode: reports ? .runReportingHandled : .run,
                            plan: hasOrders ? member.plan : nil)
                    }))
        } catch {
            lost(error)
        }
    }

    // MARK: what vCPUs report

    func take(_ event: TracerReply.Event) {
        guard Int(event.index) < members.count else { return }
        let member = members[Int(event.index)]
        member.isStanding = true
        if let holder, holder != member.identity.id { return deferred.append(event) }
        count(event)
        member.observe(exits, passed: event.passed)
        if member.isFree, report == nil { return takeFree(member, event.standing) }
        guard let controller = member.controller, member.isOut, report == nil else { return }
        do {
            let verdict: Verdict
            switch event.standing {
            case .debug:
                // The exit whose completion ended the step: no event of its own tells of it.
                if !event.page.isEmpty {
                    _ = controller.exited(member.observe(exits, handled: event.page))
                }
                guard case .debug(let debug) = member.observe(exits) else { return go([member]) }
                verdict = try controller.decide(.debug(debug), member.held)
            case .handled:
                let exit = member.observe(exits, handled: event.page)
                _ = controller.exited(exit)
                verdict = try controller.decide(.handled(exit), member.held)
            case .fatal:
                member.toldOfDeadlyExit()
                verdict = try controller.decide(
                    .fatal(member.observe(exits, handled: event.page)), member.held)
            case .patch:
                _ = member.observe(exits, handled: event.page)
                verdict = try controller.decide(.patch, member.held)
            case .gone:
                member.isGone = true
                guard outlives(member) else {
                    return lost(awaitEndOfVMM())
                }
                member.isOut = false
                member.controller = nil
                if !members.contains(where: \.isOut) {
                    finish(
                        member,
                        .failed(
                            KVMError(
                                "running vCPU \(member.identity.id)", .noSuchProcess,
                                advice: "the VMM has ended its thread")))
                }
                return
            case .interrupted, .elsewhere, .running, .absent:
                member.stood(event.standing)
                return go([member])
            }
            exits.recorder(for: member.identity.id).handled(at: monotonicTime())
            switch verdict {
            case .resume: goOn(member)
            case .stop(let reason): finish(member, reason)
            case .park: finish(member, .hlt)
            }
        } catch {
            failed(member, error)
        }
    }

    /// A vCPU that came while the guest runs has no controller until the next stop.
    private func takeFree(_ member: AttachedVCPU, _ standing: TracerReply.Standing) {
        switch standing {
        case .interrupted, .elsewhere, .running, .handled, .absent, .fatal: go([member])
        case .debug, .patch: finish(member, .interrupted)
        case .gone: member.isGone = true
        }
    }

    /// Ends the run: all are stopped, controllers take their last look, and the report waits.
    func finish(_ member: AttachedVCPU, _ reason: StopReason) {
        guard report == nil else { return }
        do {
            heldSince = monotonicTime()
            if members.contains(where: { !$0.isStanding }) {
                phase = .running
                try hold()
                if case .interrupted = reason { measure() }
            }
            // Others that came to something by themselves at the same time: their controllers are to know.
            waiting = []
            let late = deferred + client.takeEvents()
            deferred = []
            for event in late where Int(event.index) < members.count {
                let other = members[Int(event.index)]
                count(event)
                other.observe(exits, passed: event.passed)
                guard other !== member, other.isOut, let controller = other.controller else { continue }
                switch event.standing {
                case .debug:
                    if !event.page.isEmpty {
                        _ = controller.exited(other.observe(exits, handled: event.page))
                    }
                    if case .debug(let debug) = other.observe(exits) {
                        _ = try? controller.decide(.debug(debug), other.held)
                    }
                case .handled:
                    let exit = other.observe(exits, handled: event.page)
                    _ = controller.exited(exit)
                    _ = try? controller.decide(.handled(exit), other.held)
                case .fatal:
                    let exit = other.observe(exits, handled: event.page)
                    _ = try? controller.decide(.fatal(exit), other.held)
                case .patch:
                    _ = other.observe(exits, handled: event.page)
                    _ = try? controller.decide(.patch, other.held)
                case .interrupted, .elsewhere, .gone, .running, .absent: continue
                }
            }
            phase = .held
            for other in members where other.isOut {
                other.isOut = false
                try? other.controller?.end(other.held)
                other.controller = nil
            }
            for other in members { other.isFree = false }
            holder = nil
            // A step on its own seldom moves memory, and has to be quick.
            if case .step = reason, attachedMemory.age < .milliseconds(200) {} else { mapUpdater.update() }
            report = StopReport(vcpu: member.identity.id, reason: reason)
            client.nudge()
        } catch {
            lost(error)
        }
    }

    /// The VMM or the tracer is gone.
    func lost(_ error: HostGuestError) {
        for member in members {
            member.isOut = false
            member.controller = nil
            member.isFree = false
        }
        holder = nil
        waiting = []
        deferred = []
        phase = .held
        report = StopReport(
            vcpu: members[0].identity.id, reason: .ended(error.description))
        client.nudge()
    }
}
