public import X86

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
    /// Wall time since the guest was let go; zero at the first stop.
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
    /// How long another program's guest was kept from running before it was let go for this stop; nil where
    /// nothing measures that.
    public var standstill: Duration?
    /// From the first of several vCPUs held for this stop to the last one held; nil where they did not come to stand
    /// still together for it, or nothing measures that.
    public var spread: Duration?
    /// What catchpoints stopped at, also where ``reason`` is another.
    public var caught: [CaughtEvent] = []
    /// Why the condition of a breakpoint that stopped the guest could not be evaluated.
    public var conditionFailure: DebuggerError?
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

/// One vCPU at one stop.
public struct VCPUSnapshot: Sendable, Hashable {
    public var id: Int
    public var registers: GeneralRegisters
    public var special: SpecialRegisters
    public var activity: Activity

    /// What a vCPU is doing.
    public enum Activity: String, Sendable, Hashable {
        case running, stopped, halted
        /// It was let go, and the program that runs the guest does not let it run.
        case paused
        /// Waits for INIT or SIPI (KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED).
        case waiting
        /// A triple fault, a failed entry or an internal error: it cannot go on without an edit.
        case dead
        /// The program that runs the guest, or what traced it, has ended: what the vCPU does, if it is there, is not seen.
        case unreachable
    }

    public init(id: Int, registers: GeneralRegisters, special: SpecialRegisters, activity: Activity) {
        self.id = id
        self.registers = registers
        self.special = special
        self.activity = activity
    }

    public var mode: CPUMode { CPUMode(registers, special) }
    /// The linear address of the next instruction: the cached CS base + RIP (in 64-bit mode the base is 0),
    /// cut to 32 bits outside 64-bit mode.
    public var pc: UInt64 { Self.pc(registers, special) }

    static func pc(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> UInt64 {
        if special.efer.contains(.lma), special.cr0.contains(.pe), special.cs.attributes.isLong {
            return registers.rip
        }
        return (special.cs.base &+ registers.rip) & 0xFFFF_FFFF
    }
}
