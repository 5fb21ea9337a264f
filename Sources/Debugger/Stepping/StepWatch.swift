import DebugTarget
import KVMCore
import X86

/// Whether an order that steps gets on. A host that does not single-step some code, as KVM without VMX and SVM does
/// not at CPL 3, may never come back from one step of it.
struct StepWatch {
    /// So long no exit has come before the vCPU is looked at.
    static let patience: UInt64 = 1_000_000_000

    /// The exits of all vCPUs at the last look, and when that was.
    private var exits: UInt64
    private var since: UInt64
    /// What the vCPU's thread had had of a processor then; nil where that is not known.
    private var used: UInt64?
    /// RCX at the last look, if that was within a repeated instruction.
    var counter: UInt64?

    /// - Parameters:
    ///   - exits: those that there were, of all vCPUs.
    ///   - time: of the vCPU's thread.
    ///   - now: of the monotonic clock.
    init(exits: UInt64, _ time: ProcessorTime?, now: UInt64 = monotonicTime()) {
        self.exits = exits
        since = now
        used = time?.used
    }

    /// No exit has come for too long; not of a vCPU whose thread waits for a processor all the while, as on a host with much
    /// else to do: that may take seconds for one step.
    mutating func isDue(_ exits: UInt64, _ time: ProcessorTime?, now: UInt64 = monotonicTime()) -> Bool {
        guard exits == self.exits else {
            self = StepWatch(exits: exits, time, now: now)
            return false
        }
        guard now &- since >= Self.patience else { return false }
        let elapsed = now &- since
        since = now
        let before = used
        used = time?.used
        guard let time, time.isReady, let before else { return true }
        return time.used &- before >= elapsed / 10
    }
}

/// How a vCPU sleeps in the kernel.
enum KernelSleep: Sendable, Hashable {
    /// It does not, or something may wake it.
    case none
    /// Only INIT and SIPI from another vCPU wake it.
    case untilStarted
    /// In a HLT, with interrupts off: no device's interrupt wakes it.
    case forEver

    init(of vcpu: any VCPUAccess) throws(KVMError) {
        switch try vcpu.mpState() {
        case .uninitialized, .initReceived: self = .untilStarted
        case .halted:
            let events = try vcpu.events()
            let isAwaited = events.nmiPending > 0 || events.nmiInjected || events.smiPending
            // LINT0 as an NMI: the timer's interrupt comes although IF is clear. Source: SDM volume 3A, 11.5.1.
            let line = try vcpu.localAPIC()[0x350]
            let isNMI = line & 0x1_0700 == 0x400
            let isOpen = try vcpu.registers().rflags.contains(.if)
            self = isAwaited || isNMI || isOpen ? .none : .forEver
        case .runnable, .sipiReceived, .other: self = .none
        }
    }
}

extension Debugger {
    /// Waits as the target does, and looks now and then whether a step is one that never ends.
    func awaitReport(until deadline: ContinuousClock.Instant?) throws(DebuggerError) -> StopReport? {
        while true {
            let left = deadline.map { max($0 - ContinuousClock.now, .zero) }
            let slice = Duration.milliseconds(250)
            guard let id = order?.stepper else {
                guard sleepsInKernel else { return target.waitForStop(timeout: left) }
                if let report = target.waitForStop(timeout: left.map { min($0, slice) } ?? slice) {
                    return report
                }
                try checkSleep()
                if let left, left <= slice { return nil }
                continue
            }
            if let report = target.waitForStop(timeout: left.map { min($0, slice) } ?? slice) {
                return report
            }
            try check(id)
            if let left, left <= slice { return nil }
        }
    }

    /// A HLT does not leave the kernel, because the interrupt controllers are there.
    private var sleepsInKernel: Bool {
        guard !(target is any ExitForwarding) else { return false }
        return (target as? any InterruptControllerProviding)?.areInterruptControllersInKernel ?? false
    }

    /// Ends a run in which all vCPUs sleep and nothing can wake any of them.
    private func checkSleep() throws(DebuggerError) {
        let (now, exits) = (monotonicTime(), target.exits.total)
        guard let quiet = order?.quiet, quiet.exits == exits else {
            order?.quiet = (now, exits)
            return
        }
        guard now &- quiet.since >= StepWatch.patience / 2, order?.sleeper == nil else { return }
        order?.quiet = (now, exits)
        var sleeper: Int?
        for vcpu in vcpus {
            let sleep = try call(vcpu.id, "looking at a quiet guest") { try KernelSleep(of: $0) }
            switch sleep {
            case .none: return
            case .untilStarted: break
            case .forEver: sleeper = sleeper ?? vcpu.id
            }
        }
        guard let sleeper else { return }
        order?.sleeper = sleeper
        target.interrupt()
    }

    private func check(_ id: Int) throws(DebuggerError) {
        let exits = target.exits.total
        let time = (target as? any ProcessorTimeProviding)?.processorTime(vcpu: id)
        guard var watch = order?.watch else {
            order?.watch = StepWatch(exits: exits, time)
            return
        }
        let isDue = watch.isDue(exits, time)
        order?.watch = watch
        guard isDue else { return }
        if let withholding = (target as? any VCPUWithholding)?.withholding(vcpu: id) {
            order?.withholding = withholding
            return target.interrupt()
        }
        let driver = try vcpu(id).driver
        let counter = watch.counter
        let look = try call(id, "looking at a long step") { vcpu in try driver.look(vcpu, counter) }
        switch look {
        case .goesOn(let counter): order?.watch?.counter = counter
        case .lost: target.interrupt()
        }
    }
}
