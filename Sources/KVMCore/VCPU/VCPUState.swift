/// KVM_GET_MP_STATE: what a vCPU waits for. Source: api.rst, 4.38.
public enum MPState: Sendable, Hashable {
    /// 0: it runs when KVM_RUN is called.
    case runnable
    /// 1: an application processor that has not got INIT (needs the irqchip in the kernel).
    case uninitialized
    /// 2: INIT came, SIPI has not.
    case initReceived
    /// 3: HLT with the irqchip in the kernel.
    case halted
    /// 4: SIPI came.
    case sipiReceived
    /// A state of another architecture, or newer than this list.
    case other(UInt32)
}

/// KVM_GET_VCPU_EVENTS: exceptions, interrupts and NMIs on their way. Source: api.rst, 4.31.
public struct VCPUEvents: Sendable, Hashable {
    public var exceptionInjected = false
    public var exceptionPending = false
    public var exceptionVector: UInt8 = 0
    public var exceptionHasErrorCode = false
    public var exceptionErrorCode: UInt32 = 0
    public var exceptionHasPayload = false
    public var exceptionPayload: UInt64 = 0
    public var interruptInjected = false
    public var interruptVector: UInt8 = 0
    public var interruptIsSoft = false
    /// The instruction before was STI (bit 1, value 2) or MOV SS (bit 0, value 1): KVM_X86_SHADOW_INT_*.
    public var interruptShadow: UInt8 = 0
    public var nmiInjected = false
    public var nmiPending: UInt8 = 0
    public var nmiMasked = false
    public var sipiVector: UInt32 = 0
    /// KVM_VCPUEVENT_VALID_*.
    public var flags: UInt32 = 0
    public var inSystemManagementMode = false
    public var smiPending = false
    public var smmInsideNMI = false
    public var latchedINIT = false
    public var tripleFaultPending = false

    public init() {}
}

/// KVM_TRANSLATE: what the vCPU's page tables say of a linear address. Source: api.rst, 4.21.
public struct Translation: Sendable, Hashable {
    public var gpa: UInt64
    public var isValid: Bool
    public var isWriteable: Bool
    public var isUser: Bool
    public init(gpa: UInt64, isValid: Bool, isWriteable: Bool, isUser: Bool) {
        self.gpa = gpa
        self.isValid = isValid
        self.isWriteable = isWriteable
        self.isUser = isUser
    }
}

/// KVM_SET_GUEST_DEBUG: what makes a vCPU exit to the debugger. Source: api.rst, 4.87.
public struct GuestDebug: Sendable, Hashable {
    public struct Control: OptionSet, Sendable, Hashable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// KVM_GUESTDBG_ENABLE: without it all others are off.
        public static let enable = Control(rawValue: 1 << 0)
        /// KVM_GUESTDBG_SINGLESTEP.
        public static let singleStep = Control(rawValue: 1 << 1)
        /// KVM_GUESTDBG_USE_SW_BP: INT3 exits.
        public static let softwareBreakpoints = Control(rawValue: 1 << 16)
        /// KVM_GUESTDBG_USE_HW_BP: ``GuestDebug/addresses`` and ``GuestDebug/dr7`` are armed.
        public static let hardwareBreakpoints = Control(rawValue: 1 << 17)
        /// KVM_GUESTDBG_INJECT_DB.
        public static let injectDB = Control(rawValue: 1 << 18)
        /// KVM_GUESTDBG_INJECT_BP.
        public static let injectBP = Control(rawValue: 1 << 19)
        /// KVM_GUESTDBG_BLOCKIRQ: no interrupt, NMI or SMI while stepping (KVM_CAP_SET_GUEST_DEBUG2).
        public static let blockInterrupts = Control(rawValue: 1 << 20)
    }
    public var control: Control
    /// DR0 to DR3: linear addresses.
    public var addresses: SIMD4<UInt64>
    public var dr7: UInt64
    public init(control: Control = [], addresses: SIMD4<UInt64> = .zero, dr7: UInt64 = 0) {
        self.control = control
        self.addresses = addresses
        self.dr7 = dr7
    }
    /// Guest debug off.
    public static let off = GuestDebug()
}
