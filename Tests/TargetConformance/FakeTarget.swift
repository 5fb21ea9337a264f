public import DebugTarget
import Debugger
import Glibc
public import KVMCore
import Locking
import Synchronization
import SystemPackage
import X86

/// A guest without KVM, for what is decided above it. It runs while its stop is waited for.
// SAFETY: used from one thread at a time, as `Target` says; `interrupt()`, the one call that may come from
// another, touches an atomic only.
public final class FakeTarget: CodePatching, MemoryProtecting, EventDelivering, MSRTrapping, IODebugProviding,
    VCPUWithholding, VCPUAppearing, @unchecked Sendable
{
    public let name = "fake"
    public let ram: FakeMemory
    public var memory: any PhysicalMemory { ram }
    public let exits = ExitLog()
    public let debugAbilities: GuestDebug.Control
    public var debugFacilities: DebugFacilities {
        var working: Set<DebugFacility> = [.singleStep, .portPatch, .pageProtection]
        if quirks.contains(.losesSteps) { working.remove(.singleStep) }
        if !quirks.contains(.registersNeverFire) { working.insert(.executionBreakpoint) }
        if quirks.contains(.int3Traps) { working.insert(.int3) }
        if quirks.contains(.dataFires) { working.insert(.dataBreakpoint) }
        if !quirks.contains(.tfIsReal) { working.insert(.handlerStep) }
        if !quirks.contains(.noMSRFilter) { working.insert(.msrFilter) }
        return DebugFacilities(working: working)
    }
    public private(set) var processors: [FakeVCPU] = []
    /// Bytes that the guest wrote to port 0xE9.
    public private(set) var output: [UInt8] = []
    public let ioDebug = IODebugPort()
    /// Who runs the vCPUs does not, for this reason.
    public var withheld: Withholding?
    /// What IN gives.
    public var input: UInt8 = 0x5A
    public var stopDescriptor: Int32 { pipe.readEnd.rawValue }
    private let pipe: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
    private let quirks: FakeQuirks
    private var orders: [RunOrder] = []
    private var hasBegun: Set<Int> = []
    private var parked: Set<Int> = []
    /// The vCPU that goes on while the others are held.
    private var holder: Int?
    private var hiddenProtections: [UInt64: PageAccess]?
    private let isAskedToStop = Atomic<Bool>(false)

    public init(
        vcpus: Int = 1, memory size: Int = 1 << 20, quirks: FakeQuirks = [.lateHalt, .emptyREP],
        abilities: GuestDebug.Control = [
            .enable, .singleStep, .hardwareBreakpoints, .softwareBreakpoints, .blockInterrupts, .injectBP,
        ]
    ) {
        ram = FakeMemory(size: size)
        debugAbilities = abilities
        self.quirks = quirks
        // Readable while it runs: it gets on only while it is collected.
        guard let pipe = try? FileDescriptor.pipe() else { fatalError("no descriptors are left") }
        self.pipe = pipe
        for _ in 0..<vcpus { addVCPU() }
    }

    deinit {
        try? pipe.readEnd.close()
        try? pipe.writeEnd.close()
    }

    @discardableResult
    public func addVCPU() -> Int {
        let id = processors.count
        processors.append(FakeVCPU(id: id, memory: ram, quirks: quirks))
        return id
    }

    public var vcpuCount: Int { processors.count }
    public var newcomerController: ((Int) -> (any RunController)?)?

    /// A vCPU that comes while all run, as the first one but for its instruction pointer.
    public func plugIn(at ip: UInt64) {
        let id = addVCPU()
        processors[id].special = processors[0].special
        processors[id].general = processors[0].general
        processors[id].general.rip = ip
        guard isRunning, let controller = newcomerController?(id) else { return }
        orders.append(RunOrder(vcpu: id, controller: controller))
    }

    public var vcpus: [VCPUIdentity] {
        processors.map { VCPUIdentity(id: $0.id, process: getpid(), thread: 0, isBoot: $0.id == 0) }
    }

    public var isRunning: Bool { !orders.isEmpty }

    public func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        guard let vcpu = processors.first(where: { $0.id == id }) else {
            throw KVMError("finding vCPU \(id)", .noSuchFileOrDirectory)
        }
        return try body(vcpu)
    }

    public func resume(_ orders: [RunOrder]) throws {
        guard self.orders.isEmpty, !orders.isEmpty else { throw KVMError("KVM_RUN", .resourceBusy) }
        self.orders = orders
        hasBegun = []
        parked = []
        isAskedToStop.store(false, ordering: .relaxed)
        _ = try pipe.writeEnd.writeAll([1])
    }

    public func interrupt() {
        isAskedToStop.store(true, ordering: .relaxed)
    }

    public func waitForStop(timeout: Duration?) -> StopReport? {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        while !orders.isEmpty {
            for order in orders where !parked.contains(order.vcpu) && (holder ?? order.vcpu) == order.vcpu {
                switch slice(order) {
                case .resume: break
                case .park: parked.insert(order.vcpu)
                case .stop(let reason): return report(order.vcpu, reason)
                }
            }
            if let last = orders.last, parked.count == orders.count { return report(last.vcpu, .hlt) }
            if kept?.isNew == true {
                kept?.isNew = false
                return nil
            }
            if isAskedToStop.load(ordering: .relaxed) { return report(orders[0].vcpu, .interrupted) }
            if let deadline, ContinuousClock.now >= deadline { return nil }
        }
        return nil
    }

    private func slice(_ order: RunOrder) -> Verdict {
        guard let vcpu = processors.first(where: { $0.id == order.vcpu }) else { return .resume }
        do throws(KVMError) {
            if hasBegun.insert(order.vcpu).inserted {
                let verdict = try order.controller.begin(vcpu)
                if case .resume = verdict {} else { return verdict }
            }
            guard withheld == nil else { return .resume }
            let start = monotonicTime()
            let exit: VCPUExit
            if let kept, kept.vcpu == vcpu.id {
                exit = kept.exit
                self.kept = nil
            } else {
                guard let next = vcpu.run(budget: 100) else { return .resume }
                guard keeps?(next) != true else {
                    kept = (vcpu.id, next, true)
                    return .resume
                }
                exit = next
            }
            let recorder = exits.recorder(for: vcpu.id)
            recorder.entered(exit, start: start, end: monotonicTime())
            defer { recorder.handled(at: monotonicTime()) }
            return try dispatch(exit, order.controller, vcpu)
        } catch {
            return .stop(.failed(error))
        }
    }

    private func dispatch(
        _ exit: VCPUExit, _ controller: any RunController, _ vcpu: FakeVCPU
    ) throws(KVMError) -> Verdict {
        switch exit {
        case .debug(let debug): return try controller.decide(.debug(debug), vcpu)
        case .io where try controller.claims(exit, vcpu):
            vcpu.complete()
            return try controller.decide(.claimed(exit), vcpu)
        case .writeMSR where try controller.claims(exit, vcpu):
            vcpu.acceptMSR()
            return try controller.decide(.claimed(exit), vcpu)
        case .mmio(let access) where access.gpa >= ram.regions[0].size:
            if !access.isWrite { vcpu.answer(read: Self.deviceValue) }
            return controller.exited(exit) ? try controller.decide(.handled(exit), vcpu) : .resume
        case .mmio(let access):
            let answer = try controller.access(access, vcpu) ?? AccessAnswer(value: 0, isSeen: false)
            if !access.isWrite { vcpu.answer(read: answer.value) }
            let isWanted = answer.isSeen || controller.seesHandledExits
            return isWanted ? try controller.decide(.handled(exit), vcpu) : .resume
        case .io(let io):
            if io.direction == .in {
                vcpu.answer(io.size == 2 ? UInt64(ioDebug.read(io.port)) : UInt64(input), size: io.size)
            } else if io.port == 0xE9 {
                output.append(UInt8(io.data.value))
            }
            guard controller.exited(exit) else { return .resume }
            vcpu.complete()
            return try controller.decide(.handled(exit), vcpu)
        default: return try controller.decide(.fatal(exit), vcpu)
        }
    }

    public func withholding(vcpu id: Int) -> Withholding? { withheld }

    private func report(_ vcpu: Int, _ reason: StopReason) -> StopReport {
        var report = StopReport(vcpu: vcpu, reason: reason)
        for order in orders {
            guard let vcpu = processors.first(where: { $0.id == order.vcpu }) else { continue }
            do throws(KVMError) {
                if hasBegun.contains(order.vcpu) { try order.controller.end(vcpu) }
            } catch {
                report.reason = .failed(error)
            }
        }
        orders = []
        kept = nil
        var byte: UInt8 = 0
        _ = try? withUnsafeMutableBytes(of: &byte) { try pipe.readEnd.read(into: $0) }
        return report
    }

    // MARK: patches and protection

    var hasWeakEmulator: Bool { quirks.contains(.weakEmulator) }

    public var passesPortWrites: Bool { true }

    /// Which exits wait, as those of another program's guest do: ``waitForStop(timeout:)`` returns, and decides them when
    /// it is called again.
    public var keeps: ((VCPUExit) -> Bool)?
    private var kept: (vcpu: Int, exit: VCPUExit, isNew: Bool)?

    /// How often all vCPUs were made to stop for a change.
    public private(set) var holds = 0

    /// Called when all may go on.
    public var released: (() -> Void)?

    public func holdVCPUs(except vcpu: Int?) {
        holder = vcpu
        if vcpu == nil { holds += 1 }
    }

    /// What devices in memory give.
    static let deviceValue: UInt64 = 0x5A5A

    public func delivery(of event: CatchEvent) throws(EventRefusal) -> EventDelivery {
        switch event {
        case .io, .mmio, .exit, .hlt, .tripleFault, .firmware: .exit
        case .msr: canTrapMSRWrites ? .msrFilter : .stepping
        case .interrupt, .exception, .modeSwitch, .control: .stepping
        }
    }

    public var canTrapMSRWrites: Bool { !quirks.contains(.noMSRFilter) }

    public func trapMSRWrites(_ which: TrappedMSRs) throws(KVMError) {
        for processor in processors { processor.trappedMSRs = which }
    }

    public func releaseVCPUs(except vcpu: Int?) {
        holder = nil
        if vcpu == nil { released?() }
    }

    public func protect(page: UInt64, _ access: PageAccess?) throws(KVMError) {
        guard page < ram.regions[0].size else { throw KVMError("protect", .invalidArgument) }
        ram.protections.withLock { $0[page] = access }
    }

    public func suspendProtection() throws(KVMError) {
        hiddenProtections = ram.protections.withLock { all in
            defer { all = [:] }
            return all
        }
    }

    public func resumeProtection() throws(KVMError) {
        guard let hidden = hiddenProtections else { return }
        ram.protections.withLock { $0 = hidden }
        hiddenProtections = nil
    }
}
