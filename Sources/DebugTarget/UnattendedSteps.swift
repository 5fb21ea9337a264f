public import KVMCore
public import X86

/// Which debug exits a controller would answer with ``Verdict/resume``, whatever else it knew: a target to which
/// asking is dear, because its vCPU is in another process, goes on by itself for as long as the plan holds.
public struct UnattendedSteps: Sendable, Hashable {
    /// So many debug exits at most; the next is to be shown.
    public var count: UInt64
    /// Linear addresses: arriving there is to be shown.
    public var places: [UInt64]
    /// The general registers before the first of these steps.
    public var before: GeneralRegisters

    public init(count: UInt64, places: [UInt64], before: GeneralRegisters) {
        self.count = count
        self.places = places
        self.before = before
    }

    /// The longest list of places that a plan may have: they are looked through at each step.
    public static let capacity = 64

    /// Whether the step that ended in `debug` with `registers` needs not be shown: one ordinary instruction was
    /// executed, and another ordinary one follows.
    ///
    /// - Parameter memory: to see what follows. Where it cannot be read, the step is to be shown.
    public func covers(
        _ debug: DebugExit, _ registers: SyncedRegisters, memory: any PhysicalMemory
    ) -> Bool {
        guard count > 0 else { return false }
        // A match of a debug register, or a REP that has not begun, or a trap of its own.
        guard debug.matched == 0, debug.isSingleStep, debug.exception == 1, registers.general != before else {
            return false
        }
        let special = registers.special
        let pc = VCPUSnapshot.pc(registers.general, special)
        guard !places.contains(pc) else { return false }
        let first = LinearMemory.prefix(memory, special, pc)
        guard first.count > 0 else { return false }
        let next = OpcodeClass(
            bytes: first.bytes, count: first.count,
            isLong: special.efer.contains(.lma) && special.cs.attributes.isLong)
        return next == .ordinary
    }

    /// A step that it covers was made.
    public mutating func wentOn(_ registers: SyncedRegisters) {
        count -= 1
        before = registers.general
    }
}

/// A controller that can say ahead of time what it does not need to see.
public protocol PlanningController: RunController {
    /// Asked after ``RunController/begin(_:)`` and each ``RunController/decide(_:_:)`` that said
    /// ``Verdict/resume``; nil where each exit is to be shown.
    var plan: UnattendedSteps? { get }
    /// So many debug exits were as the plan has it, and were not shown.
    ///
    /// - Parameter registers: as the last of them left them. The vCPU has gone on since.
    func wentOn(_ count: UInt64, _ registers: SyncedRegisters)
}
