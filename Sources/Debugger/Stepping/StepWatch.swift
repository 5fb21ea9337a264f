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
    /// Waits as the target does, and looks now and then whether a step is one that never ends.
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
