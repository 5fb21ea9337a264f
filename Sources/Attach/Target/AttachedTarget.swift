public import Debugger
import Glibc
public import KVMCore
import Synchronization
import SystemPackage

/// A guest that another program runs, as a target.
///
/// It begins passive: the guest runs, its registers are read from the shared `kvm_run` and nothing is stopped. The
/// first order or edit that needs it makes the vCPUs stand still. A tracer process does what needs ptrace; this
/// side decides. There is no thread here: what vCPUs report is taken in by ``waitForStop(timeout:)``, and
/// ``stopDescriptor`` polls readable when there is something to take in (which need not be a stop yet).
///
/// When the target goes, everything is put back and the VMM goes on untraced; the same when its process dies.
// SAFETY: as the contract of `Target` has it, one thread at a time uses it. Only `interrupt()` may be called from
// others at the same time, and uses an atomic and a socket alone.
public final class AttachedTarget: Target, @unchecked Sendable {
    public let guest: HostGuest
    public let exits = ExitLog()
    public let debugAbilities: GuestDebug.Control
    let client: TracerClient
    public let attachedMemory: AttachedMemory
    var members: [AttachedVCPU]
    private let host: HostAbilities
    private let mappingSize: Int

    /// What the vCPUs are doing, as far as this side has arranged.
    enum Phase {
        /// The guest runs and nothing is traced.
        case passive
        /// All vCPUs stand still.
        case held
        /// Some were let go under controllers.
        case running
    }
    var phase = Phase.passive
    /// A run is on, from `resume` until its report is collected.
    var hasOrders = false
    private var report: StopReport?
    private let interruptIsWanted = Atomic<Bool>(false)
    /// As the tracer has measured it.
    public internal(set) var standstills = Standstills()
    public internal(set) var isDetached = false
    /// When the vCPUs last came to stand still; monotonic nanoseconds, 0 if they never did.
    var heldSince: UInt64 = 0
    /// Of the memory slots as they were last read; nil if that is not known.
    private var slotsVersion: KernelReader.SlotsVersion?
    /// Why the kernel does not tell the memory map, where it does not.
    var mapMissing: [ValueSource.Missing] = []
    var statistics: StatisticsReaders?

    /// Attaches to a guest, with no stop of anything.
    ///
    /// - Parameters:
    ///   - guest: as ``GuestFinder`` found it.
    ///   - tracer: the program that can be the tracer.
    /// - Throws: `AttachError` for what forbids it, with the remedy.
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
            throw AttachError(.noGuest, "the guest of process \(guest.process) has no vCPU (yet)")
        }
        self.guest = guest
        let host = HostAbilities()
        self.host = host
        debugAbilities = host.debug
        let addresses = ProcessFiles(guest.process).text("maps").map(AddressMap.init)
        guard let first = guest.vcpus.first,
            let page = addresses?.areas.first(where: { KVMDescriptor(link: $0.name) == .vcpu(id: first.id) })
        else {
            throw AttachError(
                .notPermitted, "where the VMM has mapped its vCPUs cannot be found out",
                remedy: "run kvmscope as the user that runs the VMM, or as root (CAP_SYS_PTRACE)")
        }
        client.open(guest.process)
        self.client = client
        self.launched = launched
        let size = Int(page.size)
        mappingSize = size
        let traced = guest.vcpus.compactMap { vcpu in
            vcpu.thread.map { TracedVCPU(id: Int32(vcpu.id), descriptor: vcpu.descriptor, thread: $0) }
        }
        _ = try client.ask(
            .attach(process: guest.process, mappingSize: UInt32(size), syncMask: host.sync, vcpus: traced))
        members = try guest.vcpus.enumerated().map { index, vcpu in
            try AttachedVCPU(
                index: index, process: guest.process, vcpu: vcpu, client: client, mappingSize: size,
                xsaveSize: host.xsaveSize, hasRegisters: host.sync & 3 == 3)
        }
        let kernelMap = launched?.readsKernel == false ? nil : GuestMemoryMap.fromKernel(guest)
        attachedMemory = AttachedMemory(
            process: guest.process,
            map: GuestMemoryMap.best(kernelMap, launched?.machine) ?? .init(regions: [], source: .none))
        if kernelMap == nil {
            mapMissing.append(GuestMemoryMap.whyNotFromKernel)
            if launched != nil { try client.tell(.watchCalls) }
        }
        try client.tell(.memory(attachedMemory.regions))
        if attachedMemory.source == .none { try searchMemory(addresses) }
        if launched == nil {
            awaitRegisters()
        } else {
            try hold()
        }
    }

    /// A VMM that was started for us.
    struct Launch {
        var machine: LaunchedMachine
        /// The file that its output goes to.
        var output: String
        /// The kernel may be asked for the memory map.
        var readsKernel: Bool
    }
    let launched: Launch?
    /// It was let go once: what it has asked KVM for since is not known from its first calls.
    private var hasGone = false

    /// A guest that exits now and then has left registers in the shared pages a moment later; then the first look
    /// at them stops nothing.
    private func awaitRegisters() {
        let end = ContinuousClock.now + .milliseconds(20)
        while members.contains(where: { $0.hasRegisters && !$0.hasLeftRegisters }), ContinuousClock.now < end
        {
            usleep(200)
        }
    }

    // MARK: Target

    public var name: String { "\(guest.name) (\(guest.vmm.rawValue), process \(guest.process))" }
    public var memory: any PhysicalMemory { attachedMemory }
    public var vcpus: [VCPUIdentity] { members.map(\.identity) }
    public var isRunning: Bool { hasOrders }
    public var stopDescriptor: Int32 { client.eventDescriptor }

    public func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        let member = try member(id)
        switch phase {
        case .held: return try body(member.held)
        case .passive, .running:
            let access = PassiveVCPU(member, self)
            defer { if access.hasStopped, phase == .held { letGoMeasured() } }
            return try body(access)
        }
    }

    public func resume(_ orders: [RunOrder]) throws {
        guard !hasOrders else {
            throw AttachError(.tracer, "the guest runs", remedy: "stop it first")
        }
        guard !orders.isEmpty else { throw AttachError(.notRunning, "no vCPU is to run") }
        let chosen = try orders.map { (try member($0.vcpu), $0.controller) }
        interruptIsWanted.store(false, ordering: .sequentiallyConsistent)
        // Only a guest that runs as a whole can go on running as it does.
        if phase == .passive, chosen.count < members.count { try hold() }
        hasOrders = true
        report = nil
        for (member, controller) in chosen {
            member.controller = controller
            member.planner = controller as? any PlanningController
            member.isOut = true
        }
        var going: [AttachedVCPU] = []
        for (member, controller) in chosen {
            do {
                let access: any VCPUAccess = phase == .passive ? PassiveVCPU(member, self) : member.held
                switch try controller.begin(access) {
                case .resume: going.append(member)
                case .park: finish(member, .hlt)
                case .stop(let reason): finish(member, reason)
                }
            } catch {
                finish(member, .failed(error))
            }
            if report != nil { return }
        }
        if phase == .held { go(going) }
    }

    public func interrupt() {
        interruptIsWanted.store(true, ordering: .sequentiallyConsistent)
        client.nudge()
    }

    public func waitForStop(timeout: Duration?) -> StopReport? {
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
            var left = timeout.map { $0 - (clock.now - start) }
            // In the midst of stepping the next step is there sooner than the caller would come back.
            if isBusy, let limit = left, limit < Self.patience { left = Self.patience }
            if let timeout, isBusy, clock.now - start > timeout + Self.slice { return nil }
            do {
                guard let event = try client.nextEvent(timeout: left.map { max($0, .zero) }) else {
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

    private static let patience = Duration.milliseconds(1)
    private static let slice = Duration.milliseconds(10)

    func makeMember(_ vcpu: HostVCPU, index: Int) throws -> AttachedVCPU {
        try AttachedVCPU(
            index: index, process: guest.process, vcpu: vcpu, client: client, mappingSize: mappingSize,
            xsaveSize: host.xsaveSize, hasRegisters: host.sync & 3 == 3)
    }

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

    private func member(_ id: Int) throws(AttachError) -> AttachedVCPU {
        guard !isDetached else { throw Self.detachedError }
        guard let member = members.first(where: { $0.identity.id == id }) else {
            throw AttachError(
                .notRunning, "there is no vCPU \(id)", remedy: "`vcpu list` shows those there are")
        }
        return member
    }

    /// Makes all vCPUs stand still.
    func hold() throws(AttachError) {
        guard phase != .held else { return }
        guard !isDetached else { throw Self.detachedError }
        guard case .stopped(let standings) = try client.ask(.stop) else {
            throw AttachError(.tracer, "the tracer did not answer the order to stop")
        }
        heldSince = monotonicTime()
        phase = .held
        for (member, standing) in zip(members, standings) { member.stood(standing) }
        if let gone = members.first(where: \.isGone), !outlives(gone) {
            throw AttachError(
                .ended, "the thread of vCPU \(gone.identity.id) has ended: the VMM is gone")
        }
        try takeOnNewVCPUs()
        refreshMemory()
    }

    /// Lets those go on that were running before ``hold()``; events that came meanwhile are dealt with.
    func letGo() {
        guard phase == .held else { return }
        if hasOrders, report == nil {
            phase = .running
            for event in client.takeEvents() {
                take(event)
                if report != nil { return }
            }
            go(members.filter { $0.isOut && $0.isStanding })
        } else if !hasOrders {
            _ = client.takeEvents()
            go(members)
            phase = .passive
        }
    }

    /// - Precondition: they stand still.
    private func go(_ chosen: [AttachedVCPU]) {
        guard !chosen.isEmpty else { return }
        phase = .running
        hasGone = true
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

    private func take(_ event: TracerReply.Event) {
        guard Int(event.index) < members.count else { return }
        let member = members[Int(event.index)]
        member.isStanding = true
        count(event)
        member.observe(exits, passed: event.passed)
        guard let controller = member.controller, member.isOut, report == nil else { return }
        do {
            let verdict: Verdict
            switch event.standing {
            case .debug:
                if !event.page.isEmpty { _ = member.observe(exits, handled: event.page) }
                guard case .debug(let debug) = member.observe(exits) else { return go([member]) }
                verdict = try controller.decide(.debug(debug), member.held)
            case .handled:
                let exit = member.observe(exits, handled: event.page)
                _ = controller.exited(exit)
                verdict = try controller.decide(.handled(exit), member.held)
            case .gone:
                member.isGone = true
                guard outlives(member) else {
                    return lost(AttachError(.ended, "the VMM (process \(guest.process)) has ended"))
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
            case .interrupted, .elsewhere, .running:
                member.stood(event.standing)
                return go([member])
            }
            exits.recorder(for: member.identity.id).handled(at: monotonicTime())
            switch verdict {
            case .resume: go([member])
            case .stop(let reason): finish(member, reason)
            case .park: finish(member, .hlt)
            }
        } catch {
            finish(member, .failed(error))
        }
    }

    /// Ends the run: all stand still, controllers take their last look, and the report waits.
    private func finish(_ member: AttachedVCPU, _ reason: StopReason) {
        guard report == nil else { return }
        do {
            heldSince = monotonicTime()
            if members.contains(where: { !$0.isStanding }) {
                phase = .running
                try hold()
                if case .interrupted = reason { measure() }
            }
            // Others that came to something by themselves at the same time: their controllers are to know.
            for event in client.takeEvents() where Int(event.index) < members.count {
                let other = members[Int(event.index)]
                count(event)
                other.observe(exits, passed: event.passed)
                guard other !== member, other.isOut, let controller = other.controller else { continue }
                switch event.standing {
                case .debug:
                    if !event.page.isEmpty { _ = other.observe(exits, handled: event.page) }
                    if case .debug(let debug) = other.observe(exits) {
                        _ = try? controller.decide(.debug(debug), other.held)
                    }
                case .handled:
                    let exit = other.observe(exits, handled: event.page)
                    _ = controller.exited(exit)
                    _ = try? controller.decide(.handled(exit), other.held)
                case .interrupted, .elsewhere, .gone, .running: continue
                }
            }
            phase = .held
            for other in members where other.isOut {
                other.isOut = false
                try? other.controller?.end(other.held)
                other.controller = nil
            }
            // A step on its own seldom moves memory, and has to be quick.
            if case .step = reason, attachedMemory.age < .milliseconds(200) {} else { refreshMemory() }
            report = StopReport(vcpu: member.identity.id, reason: reason)
            client.nudge()
        } catch {
            lost(error)
        }
    }

    /// The VMM or the tracer is gone.
    private func lost(_ error: AttachError) {
        for member in members {
            member.isOut = false
            member.controller = nil
        }
        phase = .held
        report = StopReport(
            vcpu: members[0].identity.id,
            reason: .failed(
                KVMError("KVM_RUN in process \(guest.process)", .noSuchProcess, advice: error.description)))
        client.nudge()
    }

    // MARK: memory

    /// The VMM may have changed its slots since.
    private func refreshMemory() {
        switch attachedMemory.source {
        case .kernel: break
        case .calls where hasGone: break
        case .calls, .search, .none: return
        }
        if attachedMemory.source == .kernel, let kernel = try? KernelReader.shared(),
            let vcpu = members[0].kernelVCPU()
        {
            let version = kernel.slotsVersion(vcpu)
            if version != nil, version == slotsVersion { return attachedMemory.confirm() }
            slotsVersion = version
        }
        if launched?.readsKernel != false, let map = GuestMemoryMap.fromKernel(guest) {
            replaceMap(map)
        } else if launched != nil, case .progress(.ready(let machine))? = try? client.ask(.progress) {
            replaceMap(GuestMemoryMap(regions: machine.regions, source: .calls(isChecked: false)))
        }
    }

    private func replaceMap(_ map: GuestMemoryMap) {
        guard map.regions != attachedMemory.regions || map.source != attachedMemory.source else {
            attachedMemory.confirm()
            return
        }
        attachedMemory.replace(map)
        // Where the tracer is lost, the next question says so.
        try? client.tell(.memory(map.regions))
    }

    /// The way without BPF: needs a vCPU that stands still for a moment.
    private func searchMemory(_ addresses: AddressMap?) throws {
        guard let addresses else { return }
        let candidates = GuestMemoryMap.candidates(addresses)
        try hold()
        defer { letGo() }
        let vcpu = members[0].vcpu
        let special = try vcpu.specialRegisters()
        let general = try vcpu.registers()
        let pc = VCPUSnapshot(
            id: members[0].identity.id, registers: general, special: special, activity: .stopped
        ).pc
        let translation = try vcpu.translate(pc)
        let map = GuestMemoryMap.search(
            candidates, special: special, linear: pc, truth: translation.isValid ? translation.gpa : nil
        ) { hva, count in
            AttachedVCPU.word(guest.process, hva, count)
        }
        replaceMap(map)
    }

}

/// What the host's KVM says of itself; what every KVM has, where /dev/kvm may not be opened.
struct HostAbilities {
    var debug: GuestDebug.Control = [.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints]
    /// KVM_SYNC_X86_*. A class that this KVM does not know would make KVM_RUN fail: none where it is not known.
    var sync: UInt64 = 0
    var xsaveSize = 0

    init() {
        guard let kvm = try? KVM.open() else { return }
        let abilities = GuestDebug.Control(rawValue: UInt32(bitPattern: kvm.check(.setGuestDebug2)))
        if !abilities.isEmpty { debug = abilities }
        sync = UInt64(UInt32(bitPattern: kvm.check(.syncRegs))) & 7
        xsaveSize = Int(kvm.check(.xsave2))
    }
}
