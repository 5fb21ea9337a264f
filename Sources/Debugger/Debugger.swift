import KVMCore
import X86

/// A debugger on one guest: lets it go, stops it, and holds what is known of it at each stop.
///
/// Used from one thread. An order is given in two halves, so that a screen can stay live while the guest runs:
/// `start…` lets go and returns at once, and ``collectStop(timeout:)`` gives the stop when it is there
/// (``stopDescriptor`` polls readable then). The blocking forms do both.
///
/// A step lets only the selected vCPU go; continuing, and stepping over a call, let all go.
public final class Debugger {
    /// Stops that are kept.
    public static let historyLimit = 50

    // What each step touches is not checked for overlapping access at run time: a debugger is used from one thread, and
    // the checks cost a step some percent.

    public let target: any Target
    let appearing: (any VCPUAppearing)?
    /// The current stop or, while the guest runs, the one before; an earlier one while that is revisited.
    @exclusivity(unchecked) public internal(set) var stop: Stop
    /// The id of the vCPU that commands are about. A stop that is about another one selects that.
    @exclusivity(unchecked) public internal(set) var selectedVCPU: Int

    let variables = Variables()
    /// Names for addresses, from the files that ``loadSymbols(_:_:)`` read.
    public internal(set) var symbols = SymbolTable()
    /// Who reads ELF files.
    public var symbolReader = SymbolReader.inProcess
    /// The source files that symbols speak of.
    public let sources = SourceFiles()
    @exclusivity(unchecked) var drivers: [VCPUDriver]
    @exclusivity(unchecked) var table = BreakpointTable()
    /// Guest memory as commands see it: without the debugger's patches.
    public let memory: any PhysicalMemory
    let patching: Patching
    /// The pages that are protected, and how.
    var protections: [UInt64: PageAccess] = [:]
    /// Watchpoints that the guest itself asked for, by port 0x8A00.
    var watchedByGuest: [Int] = []
    /// Of which MSRs writes leave the guest.
    var trappedMSRs = TrappedMSRs.none
    /// What the drivers have, unless it changed since.
    @exclusivity(unchecked) var armedSet: ArmedSet?
    /// The page tables by which breakpoints were placed last.
    var placedBy: PlacedBy?
    /// The stops before the current one.
    @exclusivity(unchecked) var past = PastStops(capacity: Debugger.historyLimit - 1)
    /// The stop where the guest stands, while ``stop`` is an earlier one.
    var present: Stop?
    /// What is kept beside the last stops, by their numbers.
    var kept: [Int: Kept] = [:]
    /// Set while what is read is kept.
    var remembering: RememberingMemory?
    @exclusivity(unchecked) var order: Order?
    /// Of `step all N`, while it runs.
    var turns: StepTurns?
    /// Why the step that runs cannot be made.
    var withholding: Withholding?
    /// The target, if it can run an order in one call.
    let synchronous: (any SynchronousRunning)?
    /// The target, if it can be let go for good.
    let detaching: (any Detaching)?
    /// What runs now was asked to stop.
    var isInterrupted = false
    /// The report of an order that was run so.
    @exclusivity(unchecked) var report: StopReport?
    /// The orders given last.
    @exclusivity(unchecked) var orders: [RunOrder] = []
    /// The only driver that ``orders`` let go, by its place; nil where they are for several.
    var orderedAlone: Int?
    /// What that driver has for its mission: so many steps; nil where it has another.
    var orderedStep: Int?
    /// What the stop that was forgotten last leaves, to be written over: it has the size that the next one needs.
    @exclusivity(unchecked) var spare: [VCPUSnapshot] = []
    var exitsBefore: UInt64 = 0
    /// The target as the one that knows how long its guest stood still, and how often it had at the last stop.
    let meter: (any StandstillMeasuring)?
    var standstillsBefore: UInt64 = 0
    var commonStopsBefore: UInt64 = 0
    /// What was read of vCPUs while they ran, since they were let go.
    @exclusivity(unchecked) var live: [Int: VCPUSnapshot] = [:]
    /// What CPUID says of paging, of the vCPUs that it was needed of.
    var paging: [(vcpu: Int, features: PagingFeatures)] = []

    /// What runs now.
    struct Order {
        var started: UInt64
        /// The only driver that was let go, by its place; nil where several were.
        var only: Int?
        /// Of `next N`: how many are left after this one.
        var remaining = 0
        /// Of `next N`: N.
        var total = 1
        /// The vCPU that steps; nil where all run freely.
        var stepper: Int?
        var watch: StepWatch?
        /// Instructions of the parts that are over.
        var steps = 0
    }

    /// - Throws: `.target` where the vCPUs cannot be read, `.noVCPU` where there is none.
    public init(target: any Target) throws(DebuggerError) {
        self.target = target
        appearing = target as? any VCPUAppearing
        meter = target as? any StandstillMeasuring
        synchronous = target as? any SynchronousRunning
        detaching = target as? any Detaching
        let patching = Patching(target)
        self.patching = patching
        memory = patching.memory
        drivers = try Self.drivers(of: target, beside: [], patching)
        guard let first = drivers.first else {
            throw DebuggerError(.noVCPU, "the guest has no vCPU", remedy: "create one first")
        }
        selectedVCPU = first.id
        stop = Stop(
            number: 0, vcpu: first.id, reason: .created, vcpus: drivers.map(\.snapshot), exitsSince: 0,
            elapsed: .zero)
        exitsBefore = target.exits.total
        appearing?.newcomerController = { [weak self] id in self?.driverForNewcomer(id) }
        (target as? any PatchKeeping)?.patchesOverwritten = { [weak self] in self?.checkPatches() }
    }

    /// Drivers for the target's vCPUs, in its order; those of `known` are used again.
    static func drivers(
        of target: any Target, beside known: [VCPUDriver], _ patching: Patching
    ) throws(DebuggerError) -> [VCPUDriver] {
        var all: [VCPUDriver] = []
        for identity in target.vcpus {
            if let driver = known.first(where: { $0.id == identity.id }) {
                all.append(driver)
                continue
            }
            let snapshot: VCPUSnapshot
            do {
                snapshot = try target.withVCPU(identity.id) { vcpu in
                    try VCPUSnapshot(reading: vcpu, id: identity.id)
                }
            } catch {
                throw DebuggerError("reading vCPU \(identity.id)", error)
            }
            all.append(
                VCPUDriver(
                    snapshot: snapshot, memory: patching.memory, abilities: target.debugAbilities,
                    patching: patching))
        }
        return all
    }

    // MARK: what is known

    /// The last stops, the oldest first, the current one last.
    public var history: [Stop] { past.all + [latestStop] }
    /// The stop before the current one, or while the guest runs the last one: what change marks compare with.
    public var previousStop: Stop? {
        if isRunning { return stop }
        return isRevisiting ? past.last { $0.number < stop.number } : past.last
    }
    /// The selected vCPU at the current stop.
    public var selected: VCPUSnapshot { stop[selectedVCPU] ?? stop.vcpus[0] }
    public var isRunning: Bool { order != nil }
    /// Polls readable while a stop waits to be collected.
    public var stopDescriptor: Int32 { target.stopDescriptor }

    public func select(vcpu id: Int) throws(DebuggerError) {
        selectedVCPU = try driver(id).id
    }

    /// Takes vCPUs that the target has made since into the current stop.
    public func refreshVCPUs() throws(DebuggerError) {
        returnToPresent()
        drivers = try Self.drivers(of: target, beside: drivers, patching)
        for driver in drivers {
            driver.armedSet = armedSet ?? .none
            if stop[driver.id] == nil { stop.vcpus.append(driver.snapshot) }
        }
    }

    // MARK: orders

    /// Steps the selected vCPU by `count` guest instructions, or to the first breakpoint or HLT among them.
    public func startStep(count: Int = 1) throws(DebuggerError) {
        try startStep(count: count, isAwaited: false)
    }

    private func startStep(count: Int, isAwaited: Bool) throws(DebuggerError) {
        try checkCount(count)
        try goStepping(count: count, isAwaited: isAwaited)
    }

    /// Steps, but runs to the instruction after a CALL, INT, REP, LOOP or HLT.
    public func startNext(count: Int = 1) throws(DebuggerError) {
        try checkCount(count)
        _ = try startable()
        isInterrupted = false
        try startOneNext()
        order?.remaining = count - 1
        order?.total = count
    }

    /// Lets all vCPUs go. Those that sleep in a HLT that nothing can end stay, unless all do: then they are woken.
    public func startContinue() throws(DebuggerError) {
        _ = try startable()
        try go(awake(), selected: .run)
    }

    /// Lets all go until the selected vCPU comes to `address`, or something else stops the guest.
    public func startRun(to address: Address) throws(DebuggerError) {
        _ = try startable()
        let linear = try linear(address)
        let destination = Destination(
            linear: linear, frame: nil, bySteps: !hasFreeRegister(for: linear), reason: .breakpoint([]))
        try go(awake(), selected: .until(destination))
    }

    /// Asks the guest to stop; the stop is to be collected.
    public func interrupt() {
        // Between two parts of an order nothing runs that the target could stop.
        isInterrupted = order != nil
        target.interrupt()
    }

    /// The stop, once all vCPUs stand still; nil after `timeout` (nil: none). At once the current stop where
    /// nothing runs.
    public func collectStop(timeout: Duration?) throws(DebuggerError) -> Stop? {
        try collect(timeout: timeout) ? stop : nil
    }

    /// Whether ``stop`` is the one to collect.
    func collect(timeout: Duration?) throws(DebuggerError) -> Bool {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        while var running = order {
            var taken = report.take()
            if taken == nil { taken = try awaitReport(until: deadline) }
            guard var report = consume taken else { return false }
            // A vCPU that came while it was waited for is not alone.
            if appearing != nil { running.only = order?.only }
            if try answer(&report, running) { continue }
            let place = running.only ?? stop.place(of: report.vcpu)
            let steps = running.steps &+ (place.map { drivers[$0].steps } ?? 0)
            if isInterrupted, running.remaining > 0 || turns != nil, case .step = report.reason {
                report = StopReport(vcpu: report.vcpu, reason: .interrupted, measured: report.measured)
            }
            if running.remaining > 0, case .step = report.reason, report.vcpu == selectedVCPU {
                // Of `next N`, one is over and the next begins where it ended.
                try startOneNext()
                order?.started = running.started
                order?.remaining = running.remaining - 1
                order?.total = running.total
                order?.steps = steps
                continue
            }
            if turns != nil, try takeTurn(&report, &running, steps: steps) { continue }
            order = nil
            isInterrupted = false
            finish(consume report, running, steps: steps)
        }
        return true
    }

    @discardableResult
    public func step(count: Int = 1) throws(DebuggerError) -> Stop {
        try startStep(count: count, isAwaited: true)
        return try wait()
    }

    @discardableResult
    public func next(count: Int = 1) throws(DebuggerError) -> Stop {
        try startNext(count: count)
        return try wait()
    }

    @discardableResult
    public func continueRun() throws(DebuggerError) -> Stop {
        try startContinue()
        return try wait()
    }

    @discardableResult
    public func run(to address: Address) throws(DebuggerError) -> Stop {
        try startRun(to: address)
        return try wait()
    }
}
