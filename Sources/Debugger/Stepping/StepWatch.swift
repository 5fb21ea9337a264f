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
    /// RCX at the last look, if that was within a repeated instruction.
    var counter: UInt64?

    init(exits: UInt64) {
        self.exits = exits
        since = monotonicTime()
    }

    /// No exit has come for too long.
    mutating func isDue(_ now: UInt64) -> Bool {
        guard now == exits else {
            exits = now
            since = monotonicTime()
            return false
        }
        guard monotonicTime() &- since >= Self.patience else { return false }
        since = monotonicTime()
        return true
    }
}

extension Debugger {
    /// As the target's wait, and looks now and then whether a step is one that never ends.
    func awaitReport(until deadline: ContinuousClock.Instant?) throws(DebuggerError) -> StopReport? {
        while true {
            let left = deadline.map { max($0 - ContinuousClock.now, .zero) }
            guard let id = order?.stepper else { return target.waitForStop(timeout: left) }
            let slice = Duration.milliseconds(250)
            if let report = target.waitForStop(timeout: left.map { min($0, slice) } ?? slice) {
                return report
            }
            try check(id)
            if let left, left <= slice { return nil }
        }
    }

    private func check(_ id: Int) throws(DebuggerError) {
        let exits = target.exits.total
        guard var watch = order?.watch else {
            order?.watch = StepWatch(exits: exits)
            return
        }
        let isDue = watch.isDue(exits)
        order?.watch = watch
        guard isDue else { return }
        if let withholding = (target as? any VCPUWithholding)?.withholding(vcpu: id) {
            self.withholding = withholding
            return target.interrupt()
        }
        let driver = try driver(id)
        let counter = watch.counter
        let look = try call(id, "looking at a long step") { vcpu in try driver.look(vcpu, counter) }
        switch look {
        case .goesOn(let counter): order?.watch?.counter = counter
        case .lost: target.interrupt()
        }
    }
}

extension VCPUDriver {
    /// What a step that takes long does.
    enum LongStep: Sendable {
        /// It is on its way: RCX, if within a repeated instruction.
        case goesOn(UInt64?)
        case lost
    }

    /// So many looks in a row find the registers as they were before the step, until that is how the guest runs: at
    /// `jmp $`.
    private static let mostInVain = 3

    /// On the vCPU's thread, between two KVM_RUNs.
    func look(_ vcpu: any VCPUAccess, _ counter: UInt64?) throws(KVMError) -> LongStep {
        guard isStepping, !isDelivering, try vcpu.mpState() == .runnable else { return .goesOn(nil) }
        // Not every target counts all of its exits.
        guard steps == stepsSeen else {
            stepsSeen = steps
            looksInVain = 0
            return .goesOn(nil)
        }
        let registers = try vcpu.registers()
        // It need not have begun, on a host with much else to do.
        looksInVain = registers == before ? looksInVain + 1 : Self.mostInVain
        guard looksInVain >= Self.mostInVain else { return .goesOn(nil) }
        // A repeated instruction may move much memory.
        if registers.rip == before.rip, registers.rcx != before.rcx, registers.rcx != counter {
            return .goesOn(registers.rcx)
        }
        isLost = true
        return .lost
    }
}
