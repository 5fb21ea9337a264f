/// Something that a kernel's KVM may or may not be able to do, for `KVM_CHECK_EXTENSION`.
///
/// Source: include/uapi/linux/kvm.h; what each answer means is in api.rst.
public struct Capability: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let irqchip = Capability(rawValue: 0)
    public static let userMemory = Capability(rawValue: 3)
    public static let setTSSAddr = Capability(rawValue: 4)
    public static let extCPUID = Capability(rawValue: 7)
    /// How many vCPUs are recommended: on x86 the host's CPUs.
    public static let nrVCPUs = Capability(rawValue: 9)
    /// How many memslots a VM can have.
    public static let nrMemslots = Capability(rawValue: 10)
    public static let mpState = Capability(rawValue: 14)
    public static let userNMI = Capability(rawValue: 22)
    public static let setGuestDebug = Capability(rawValue: 23)
    public static let pit2 = Capability(rawValue: 33)
    public static let setBootCPUID = Capability(rawValue: 34)
    public static let setIdentityMapAddr = Capability(rawValue: 37)
    public static let adjustClock = Capability(rawValue: 39)
    public static let internalErrorData = Capability(rawValue: 40)
    public static let vcpuEvents = Capability(rawValue: 41)
    public static let debugRegs = Capability(rawValue: 50)
    public static let enableCap = Capability(rawValue: 54)
    public static let xsave = Capability(rawValue: 55)
    public static let xcrs = Capability(rawValue: 56)
    public static let tscControl = Capability(rawValue: 60)
    public static let getTSCKHz = Capability(rawValue: 61)
    /// How many vCPUs a VM can have.
    public static let maxVCPUs = Capability(rawValue: 66)
    public static let tscDeadlineTimer = Capability(rawValue: 72)
    /// `kvm_run` carries registers: the bits of `kvm_valid_regs` that are supported.
    public static let syncRegs = Capability(rawValue: 74)
    public static let signalMSI = Capability(rawValue: 77)
    public static let readonlyMem = Capability(rawValue: 81)
    /// How many address spaces memslots come in (2 with SMM).
    public static let multiAddressSpace = Capability(rawValue: 118)
    public static let splitIRQChip = Capability(rawValue: 121)
    /// One more than the highest vCPU id.
    public static let maxVCPUID = Capability(rawValue: 128)
    public static let x2apicAPI = Capability(rawValue: 129)
    public static let immediateExit = Capability(rawValue: 136)
    public static let x86DisableExits = Capability(rawValue: 143)
    public static let exceptionPayload = Capability(rawValue: 164)
    public static let manualDirtyLogProtect2 = Capability(rawValue: 168)
    public static let x86UserSpaceMSR = Capability(rawValue: 188)
    public static let x86MSRFilter = Capability(rawValue: 189)
    public static let dirtyLogRing = Capability(rawValue: 192)
    public static let x86BusLockExit = Capability(rawValue: 193)
    /// The `KVM_GUESTDBG_*` bits that are supported.
    public static let setGuestDebug2 = Capability(rawValue: 195)
    public static let sregs2 = Capability(rawValue: 200)
    public static let exitHypercall = Capability(rawValue: 201)
    public static let binaryStatsFD = Capability(rawValue: 203)
    public static let exitOnEmulationFailure = Capability(rawValue: 204)
    public static let vmGPABits = Capability(rawValue: 207)
    /// The size of the XSAVE area in bytes; 0 on kernels that have KVM_GET_XSAVE alone.
    public static let xsave2 = Capability(rawValue: 208)
    public static let disableQuirks2 = Capability(rawValue: 213)
    public static let vmTSCControl = Capability(rawValue: 214)
    public static let systemEventData = Capability(rawValue: 215)
    public static let x86TripleFaultEvent = Capability(rawValue: 218)
    public static let x86NotifyVMExit = Capability(rawValue: 219)
    public static let memoryFaultInfo = Capability(rawValue: 232)

    /// The kernel's name without `KVM_CAP_`, or the number where this list has none.
    public var description: String { Self.named[self] ?? "\(rawValue)" }

    /// All capabilities that have a name here, with the kernel's name for each, without `KVM_CAP_`.
    public static let named: [Capability: String] = [
        .irqchip: "IRQCHIP", .userMemory: "USER_MEMORY", .setTSSAddr: "SET_TSS_ADDR",
        .extCPUID: "EXT_CPUID", .nrVCPUs: "NR_VCPUS", .nrMemslots: "NR_MEMSLOTS", .mpState: "MP_STATE",
        .userNMI: "USER_NMI", .setGuestDebug: "SET_GUEST_DEBUG", .pit2: "PIT2",
        .setBootCPUID: "SET_BOOT_CPU_ID", .setIdentityMapAddr: "SET_IDENTITY_MAP_ADDR",
        .adjustClock: "ADJUST_CLOCK", .internalErrorData: "INTERNAL_ERROR_DATA",
        .vcpuEvents: "VCPU_EVENTS", .debugRegs: "DEBUGREGS", .enableCap: "ENABLE_CAP", .xsave: "XSAVE",
        .xcrs: "XCRS", .tscControl: "TSC_CONTROL", .getTSCKHz: "GET_TSC_KHZ", .maxVCPUs: "MAX_VCPUS",
        .tscDeadlineTimer: "TSC_DEADLINE_TIMER", .syncRegs: "SYNC_REGS", .signalMSI: "SIGNAL_MSI",
        .readonlyMem: "READONLY_MEM", .multiAddressSpace: "MULTI_ADDRESS_SPACE",
        .splitIRQChip: "SPLIT_IRQCHIP", .maxVCPUID: "MAX_VCPU_ID", .x2apicAPI: "X2APIC_API",
        .immediateExit: "IMMEDIATE_EXIT", .x86DisableExits: "X86_DISABLE_EXITS",
        .exceptionPayload: "EXCEPTION_PAYLOAD", .manualDirtyLogProtect2: "MANUAL_DIRTY_LOG_PROTECT2",
        .x86UserSpaceMSR: "X86_USER_SPACE_MSR", .x86MSRFilter: "X86_MSR_FILTER",
        .dirtyLogRing: "DIRTY_LOG_RING", .x86BusLockExit: "X86_BUS_LOCK_EXIT",
        .setGuestDebug2: "SET_GUEST_DEBUG2", .sregs2: "SREGS2", .exitHypercall: "EXIT_HYPERCALL",
        .binaryStatsFD: "BINARY_STATS_FD", .exitOnEmulationFailure: "EXIT_ON_EMULATION_FAILURE",
        .vmGPABits: "VM_GPA_BITS", .xsave2: "XSAVE2", .disableQuirks2: "DISABLE_QUIRKS2",
        .vmTSCControl: "VM_TSC_CONTROL", .systemEventData: "SYSTEM_EVENT_DATA",
        .x86TripleFaultEvent: "X86_TRIPLE_FAULT_EVENT", .x86NotifyVMExit: "X86_NOTIFY_VMEXIT",
        .memoryFaultInfo: "MEMORY_FAULT_INFO",
    ]
}
