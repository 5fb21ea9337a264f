import CKVM

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
    /// An exception is on its way into the guest.
    public var exceptionInjected = false
    /// An exception was raised and is not yet injected (with KVM_CAP_EXCEPTION_PAYLOAD enabled; else it counts
    /// as injected).
    public var exceptionPending = false
    /// The exception's vector, 0 to 31.
    public var exceptionVector: UInt8 = 0
    /// The exception pushes ``exceptionErrorCode``.
    public var exceptionHasErrorCode = false
    /// What the exception pushes.
    public var exceptionErrorCode: UInt32 = 0
    /// ``exceptionPayload`` counts: CR2 or DR6 is set when the exception is injected.
    public var exceptionHasPayload = false
    /// CR2 of a page fault, or the bits of DR6 of a debug exception.
    public var exceptionPayload: UInt64 = 0
    /// An interrupt is on its way into the guest.
    public var interruptInjected = false
    /// The interrupt's vector.
    public var interruptVector: UInt8 = 0
    /// The interrupt is an INT n, not an external one.
    public var interruptIsSoft = false
    /// The instruction before was STI (bit 1, value 2) or MOV SS (bit 0, value 1): KVM_X86_SHADOW_INT_*.
    ///
    /// AMD's processors have one bit for both, so that KVM on SVM reads 3 for either of them, whichever was set
    /// (svm_get_interrupt_shadow in arch/x86/kvm/svm/svm.c).
    public var interruptShadow: UInt8 = 0
    /// An NMI is on its way into the guest.
    public var nmiInjected = false
    /// How many NMIs wait, 0 to 2.
    public var nmiPending: UInt8 = 0
    /// NMIs wait for the guest's IRET.
    public var nmiMasked = false
    /// The page number that a SIPI carried. The kernel takes it and does not give it back.
    public var sipiVector: UInt32 = 0
    /// KVM_VCPUEVENT_VALID_*.
    public var flags: UInt32 = 0
    /// The vCPU is in system-management mode (`smi.smm`).
    public var inSystemManagementMode = false
    /// An SMI waits.
    public var smiPending = false
    /// The SMI came while NMIs were masked.
    public var smmInsideNMI = false
    /// An INIT waits for the end of system-management mode.
    public var latchedINIT = false
    /// A triple fault waits to be told (KVM_CAP_X86_TRIPLE_FAULT_EVENT).
    public var tripleFaultPending = false

    /// Nothing on its way.
    public init() {}
}

/// KVM_TRANSLATE: what the vCPU's page tables say of a linear address. Source: api.rst, 4.21.
public struct Translation: Sendable, Hashable {
    /// The guest-physical address; all ones where ``isValid`` is false.
    public var gpa: UInt64
    /// The address is mapped.
    public var isValid: Bool
    /// Always true: the kernel does not look (kvm_arch_vcpu_ioctl_translate in arch/x86/kvm/x86.c).
    public var isWriteable: Bool
    /// Always false: the kernel does not look.
    public var isUser: Bool
    /// - Parameters:
    ///   - gpa: the guest-physical address.
    ///   - isValid: whether the address is mapped.
    ///   - isWriteable: what the kernel says of it.
    ///   - isUser: what the kernel says of it.
    public init(gpa: UInt64, isValid: Bool, isWriteable: Bool, isUser: Bool) {
        self.gpa = gpa
        self.isValid = isValid
        self.isWriteable = isWriteable
        self.isUser = isUser
    }
}

/// KVM_SET_GUEST_DEBUG: what makes a vCPU exit to the debugger. Source: api.rst, 4.87.
public struct GuestDebug: Sendable, Hashable {
    /// KVM_GUESTDBG_*: what is armed.
    public struct Control: OptionSet, Sendable, Hashable {
        /// The kernel's bits.
        public var rawValue: UInt32
        /// - Parameter rawValue: the kernel's bits.
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
        /// KVM_GUESTDBG_BLOCKIRQ: no interrupt, NMI or SMI while stepping (KVM_CAP_SET_GUEST_DEBUG2 lists it).
        public static let blockInterrupts = Control(rawValue: 1 << 20)

        /// The controls that a KVM has.
        ///
        /// - Parameter capability: what KVM_CAP_SET_GUEST_DEBUG2 says; 0 where there is none, and all but
        ///   ``blockInterrupts`` are there.
        public init(capability: Int32) {
            self =
                capability > 0
                ? Control(rawValue: UInt32(bitPattern: capability))
                : [.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints, .injectDB, .injectBP]
        }
    }
    /// What is armed.
    public var control: Control
    /// DR0 to DR3: linear addresses.
    public var addresses: SIMD4<UInt64>
    /// DR7 for ``addresses``: which are enabled, their lengths and kinds. SDM volume 3B, 17.2.4.
    public var dr7: UInt64
    /// - Parameters:
    ///   - control: what is armed.
    ///   - addresses: DR0 to DR3, linear.
    ///   - dr7: which of them are enabled, and how.
    public init(control: Control = [], addresses: SIMD4<UInt64> = .zero, dr7: UInt64 = 0) {
        self.control = control
        self.addresses = addresses
        self.dr7 = dr7
    }
    /// The length of `struct kvm_guest_debug`, whose first word is ``control``: a structure of zeroes turns all off.
    package static let byteCount = MemoryLayout<kvm_guest_debug>.size
    /// Guest debug off.
    public static let off = GuestDebug()
}
