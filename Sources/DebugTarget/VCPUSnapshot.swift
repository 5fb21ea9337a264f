public import X86

/// One vCPU at one stop.
public struct VCPUSnapshot: Sendable, Hashable {
    public var id: Int
    public var registers: GeneralRegisters
    public var special: SpecialRegisters
    public var activity: Activity

    /// What a vCPU is doing.
    public enum Activity: String, Sendable, Hashable {
        case running, stopped, halted
        /// It was resumed, and the program that runs the guest does not let it run.
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

    /// The linear address of the next instruction of a vCPU with these registers.
    public static func pc(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> UInt64 {
        if special.efer.contains(.lma), special.cr0.contains(.pe), special.cs.attributes.isLong {
            return registers.rip
        }
        return (special.cs.base &+ registers.rip) & 0xFFFF_FFFF
    }
}
