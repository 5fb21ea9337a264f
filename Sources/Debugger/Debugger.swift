public import DebugTarget
import Expressions
import KVMCore
public import Symbols
public import X86

/// A debugger on one guest: resumes it, stops it, and holds what is known of it at each stop.
///
/// Used from one thread. An order is given in two halves, so that a screen can stay live while the guest runs:
/// `start…` resumes the guest and returns at once, and ``collectStop(timeout:)`` gives the stop when it is there
/// (``stopDescriptor`` polls readable then). The blocking forms do both.
///
/// A step resumes only the selected vCPU; continuing, and stepping over a call, resume all.
public final class Debugger {
    /// Stops that are kept.
    public static let historyLimit = 50

    public let target: any Target
    let abilities: TargetAbilities
    /// The current stop or, while the guest runs, the one before; an earlier one while that is revisited.
    public internal(set) var stop: Stop
    /// The id of the vCPU that commands are about. A stop that is about another one selects that.
    public internal(set) var selectedVCPU: Int
    var vcpus: [DebuggedVCPU]
    /// What runs now.
    var order: Order?

    let variables = Variables()
    /// Names for addresses, from the files that ``loadSymbols(_:_:)`` read.
    public internal(set) var symbols = SymbolTable()
    /// Who reads ELF files.
    public var symbolReader = SymbolReader.inProcess
    /// The image as it was when its own symbols were looked for.
    var imageVersion: FileVersion?
    /// The source files that symbols speak of.
    public let sources = SourceFiles()
    /// Guest memory as commands see it: without the debugger's patches.
    public let memory: any PhysicalMemory
    let patching: Patching
    var placement = BreakpointPlacement()
    var past = StopHistory()
    var account: StopAccount
    /// Breakpoints that the restart disabled, until a stop has told of them.
    var lostAtRestart: [LostBreakpoint] = []
    /// A triple fault resets the guest, as a PC's board does: once it has stopped for it, the next order goes on from the
    /// start.
    public var resetsAtTripleFault = false
    var live = LiveState()

    /// - Throws: `.target` where the vCPUs cannot be read, `.noVCPU` where there is none.
    public init(target: any Target) throws(DebuggerError) {
        self.target = target
        abilities = TargetAbilities(target)
        let patching = Patching(target)
        self.patching = patching
        memory = patching.memory
        vcpus = try Self.vcpus(of: target, beside: [], patching)
        guard let first = vcpus.first else {
            throw DebuggerError(.noVCPU, "the guest has no vCPU", remedy: "create one first")
        }
        selectedVCPU = first.id
        stop = Stop(
            number: 0, vcpu: first.id, reason: .created, vcpus: vcpus.map(\.snapshot), exitsSince: 0,
            elapsed: .zero)
        account = StopAccount(exits: target.exits.total)
        abilities.appearing?.newcomerController = { [weak self] id in self?.driverForNewcomer(id) }
        (target as? any PatchKeeping)?.patchesOverwritten = { [weak self] in self?.checkPatches() }
    }

    /// The target's vCPUs, in its order; those of `known` are used again.
    static func vcpus(
        of target: any Target, beside known: [DebuggedVCPU], _ patching: Patching
    ) throws(DebuggerError) -> [DebuggedVCPU] {
        var all: [DebuggedVCPU] = []
        for identity in target.vcpus {
            if let vcpu = known.first(where: { $0.id == identity.id }) {
                all.append(vcpu)
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
            let driver = VCPUDriver(
                snapshot: snapshot, abilities: target.debugAbilities, patching: patching)
            all.append(DebuggedVCPU(driver, snapshot))
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
        selectedVCPU = try vcpu(id).id
    }

    /// Takes vCPUs that the target has made since into the current stop.
    public func refreshVCPUs() throws(DebuggerError) {
        returnToPresent()
        vcpus = try Self.vcpus(of: target, beside: vcpus, patching)
        for vcpu in vcpus {
            vcpu.driver.give(placement.armed ?? .none)
            if stop[vcpu.id] == nil { stop.vcpus.append(vcpu.snapshot) }
        }
    }

    // MARK: orders

    /// Steps the selected vCPU by `count` guest instructions, or to the first breakpoint or HLT among them.
    public func startStep(count: Int = 1) throws(DebuggerError) {
        try checkCount(count)
        try go([try startable()], selected: .step(count: count))
    }

    /// Steps, but runs to the instruction after a CALL, INT, REP, LOOP or HLT.
    public func startNext(count: Int = 1) throws(DebuggerError) {
        try checkCount(count)
        _ = try startable()
        var progress = OrderProgress()
        progress.total = count
        progress.remaining = count - 1
        try startOneNext(progress)
    }

    /// Resumes all vCPUs, but those that sleep in a HLT that nothing can end.
    ///
    /// - Throws: `.refused` where all do.
    public func startContinue() throws(DebuggerError) {
        let vcpu = try startable()
        let alive = vcpus.filter(canGoOn)
        // What another program runs, that program may wake.
        guard target is any ExitForwarding || alive.contains(where: { !$0.last.isParked || mayWake($0) })
        else {
            throw DebuggerError(
                .refused, "vCPU \(vcpu.id) sleeps in a HLT, and nothing can wake the guest",
                advice: .stepPastHalt)
        }
        try go(awake(), selected: .run)
    }

    /// Devices of the target may end its HLT.
    private func mayWake(_ vcpu: DebuggedVCPU) -> Bool {
        patching.waitsAtHalt && vcpu.snapshot.registers.rflags.contains(.if)
    }

    /// Resumes these vCPUs, as ``startContinue()`` does all; the others stay where they are.
    ///
    /// - Throws: `.noVCPU` for one that there is not, `.refused` where none of them can go on.
    public func startContinue(vcpus ids: Set<Int>) throws(DebuggerError) {
        _ = try startable()
        var wanted: [DebuggedVCPU] = []
        for id in ids.sorted() { wanted.append(try vcpu(id)) }
        let able = wanted.filter(canGoOn)
        guard let first = able.first else {
            throw DebuggerError(
                .refused, "none of these vCPUs can go on: they are dead", remedy: "set their registers first")
        }
        try go(able, selected: .run, of: first.id)
    }

    /// Resumes all until the selected vCPU comes to `address`, or something else stops the guest.
    public func startRun(to address: Address) throws(DebuggerError) {
        _ = try startable()
        let linear = try linear(address)
        let destination = Destination(
            linear: linear, frame: nil, bySteps: !hasFreeRegister(for: linear),
            reason: .reached(.place(linear)))
        try go(awake(), selected: .until(destination))
    }

    /// Asks the guest to stop; the stop is to be collected.
    public func interrupt() {
        // Between two parts of an order nothing runs that the target could stop.
        order?.progress.isInterrupted = true
        target.interrupt()
    }

    /// The stop, once all vCPUs are stopped; nil after `timeout` (nil: none). At once the current stop where
    /// nothing runs.
    public func collectStop(timeout: Duration?) throws(DebuggerError) -> Stop? {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        while order != nil {
            guard let report = try awaitReport(until: deadline) else { return nil }
            try take(report)
        }
        return stop
    }

    @discardableResult
    public func step(count: Int = 1) throws(DebuggerError) -> Stop {
        try startStep(count: count)
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
