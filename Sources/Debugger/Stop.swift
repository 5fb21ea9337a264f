public import DebugTarget
import X86

/// Everything known at one stop: what the screen, JSON output and history are all made from.
public struct Stop: Sendable {
    /// 0 at the start, one more at each stop.
    public var number: Int
    /// The vCPU that the reason is about.
    public var vcpu: Int
    public var reason: StopReason
    /// Every vCPU, in the order of creation.
    public var vcpus: [VCPUSnapshot]
    /// Exits of all vCPUs since the stop before.
    public var exitsSince: UInt64
    /// Wall time since the guest was resumed; zero at the first stop.
    public var elapsed: Duration
    /// How often the state was edited since the guest stopped here.
    public var edits: Int
    /// Guest instructions that the last order stepped, the one that stopped it included.
    public var steps: Int
    /// The last step went over a HLT, so the processor would be asleep now.
    public var passedHalt: Bool
    /// A step covered two instructions, as hosts do that single-step with TF: MOV SS and POP SS hold its trap off for
    /// one more.
    public var steppedTwo = false
    /// Code was stepped that this host was seen not to single-step, so that a step may have gone too far: what kind.
    public var unsteppable: CodeContext?
    /// Guest-physical addresses that the guest had copied breakpoints' patches to: since they were executed there, the
    /// guest's own bytes are back.
    public var undoneCopies: [UInt64] = []
    /// How long another program's guest was kept from running before it was resumed for this stop; nil where
    /// nothing measures that.
    public var standstill: Duration?
    /// From the first of several vCPUs held for this stop to the last one held; nil where they did not come to stand
    /// still together for it, or nothing measures that.
    public var spread: Duration?
    /// What catchpoints stopped at, also where ``reason`` is another.
    public var caught: [CaughtEvent] = []
    /// Why the condition of a breakpoint that stopped the guest could not be evaluated.
    public var conditionFailure: DebuggerError?
    /// Breakpoints that are disabled since the guest was started again.
    public var lost: [LostBreakpoint] = []
    /// The commands of the breakpoints that were hit, in the order of their numbers.
    public var commands: [String] = []

    public init(
        number: Int, vcpu: Int, reason: StopReason, vcpus: [VCPUSnapshot], exitsSince: UInt64,
        elapsed: Duration, edits: Int = 0, steps: Int = 0, passedHalt: Bool = false,
        standstill: Duration? = nil
    ) {
        self.standstill = standstill
        self.edits = edits
        self.steps = steps
        self.passedHalt = passedHalt
        self.number = number
        self.vcpu = vcpu
        self.reason = reason
        self.vcpus = vcpus
        self.exitsSince = exitsSince
        self.elapsed = elapsed
    }

    /// The state of the vCPU `id`, if it is in this stop.
    public subscript(id: Int) -> VCPUSnapshot? {
        place(of: id).map { vcpus[$0] }
    }

    /// Where in ``vcpus`` it is.
    func place(of id: Int) -> Int? {
        // A closure would be given a copy of each.
        for index in vcpus.indices where vcpus[index].id == id { return index }
        return nil
    }
}
