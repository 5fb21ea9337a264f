import DebugTarget
import KVMCore

/// One vCPU as the debugger's thread knows it.
final class DebuggedVCPU {
    let driver: VCPUDriver
    /// What its last run came to, and what edits have made of it since.
    var last: RunOutcome

    init(_ driver: VCPUDriver, _ snapshot: VCPUSnapshot) {
        self.driver = driver
        last = RunOutcome(snapshot: snapshot)
    }

    var id: Int { driver.id }
    var snapshot: VCPUSnapshot { last.snapshot }

    /// It was edited while it was stopped.
    func edited(_ snapshot: VCPUSnapshot) {
        last.snapshot = snapshot
        last.isParked = false
        last.holdsOffInterrupts = false
    }
}

/// What runs now: one order, or a part of one.
struct Order {
    /// The ids of those that were resumed.
    var vcpus: [Int]
    /// The only one that was resumed, by its place; nil where several were.
    var only: Int?
    /// The vCPU that steps; nil where all run freely.
    var stepper: Int?
    var progress: OrderProgress
    var watch: StepWatch?
    /// When no exit had come, and how many there were.
    var quiet: (since: UInt64, exits: UInt64)?
    /// One of the vCPUs, which all sleep for ever.
    var sleeper: Int?
    /// Why the step that runs cannot be made.
    var withholding: Withholding?
}

/// What an order has come to, over all of its parts.
struct OrderProgress {
    var started = monotonicTime()
    /// Of `next N`: how many are left after this one.
    var remaining = 0
    /// Of `next N`: N.
    var total = 1
    /// Of `step all N`.
    var turns: StepTurns?
    /// Instructions that were stepped.
    var steps = 0
    var steppedTwo = false
    var unsteppable: CodeContext?
    /// Breakpoints, watchpoints and catchpoints that were come to.
    var hits: [Int] = []
    /// Where the guest had copied patches to.
    var copies: [UInt64] = []
    /// The user asked for it to stop.
    var isInterrupted = false
    /// The last part is one step of the instruction that the guest was interrupted at.
    var isTrial = false

    /// It has one part.
    var isWhole: Bool { total == 1 && turns == nil }

    mutating func add(_ ended: EndedRun) {
        steps += ended.steps
        steppedTwo = steppedTwo || ended.outcomes.contains { $0.steppedTwo }
        for outcome in ended.outcomes {
            unsteppable = unsteppable ?? outcome.unsteppable
            hits += outcome.hits
            copies += outcome.copies
        }
    }
}

/// A run that is over: the target's report, and what each vCPU came to.
struct EndedRun {
    var report: StopReport
    let outcomes: [RunOutcome]
    /// Of the vCPU that the report is about; nil where that has not run.
    let reporter: RunOutcome?
    /// Instructions that the order counts.
    let steps: Int

    /// Takes what the vCPUs hand over.
    init(_ report: StopReport, _ order: Order, _ vcpus: [DebuggedVCPU]) {
        self.report = report
        var outcomes: [RunOutcome] = []
        let isLost = if case .ended = report.reason { true } else { false }
        for vcpu in vcpus where order.vcpus.contains(vcpu.id) {
            // One that had no turn before another stopped all has nothing to say.
            guard let outcome = vcpu.driver.takeOutcome(isLost: isLost) else { continue }
            vcpu.last = outcome
            outcomes.append(outcome)
        }
        self.outcomes = outcomes
        reporter = outcomes.first { $0.snapshot.id == report.vcpu }
        let counted = order.only.map { vcpus[$0].id } ?? report.vcpu
        steps = outcomes.first { $0.snapshot.id == counted }?.steps ?? 0
    }

    /// Why the guest stopped.
    var reason: StopReason {
        if let failure = reporter?.failure { return .failed(failure) }
        // The others were asked to stop because of it.
        if report.reason == .interrupted, outcomes.contains(where: \.isLost) {
            return .stepLost(.interrupted)
        }
        return report.reason
    }
}
