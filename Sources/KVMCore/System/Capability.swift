/// Something that a kernel's KVM may or may not be able to do, for `KVM_CHECK_EXTENSION`.
///
/// Source: include/uapi/linux/kvm.h; what each answer means is in api.rst.
public struct Capability: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    /// KVM_CAP_*: the kernel's number.
    public var rawValue: Int32
    /// - Parameter rawValue: KVM_CAP_*, also one that has no name here.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// ``VirtualMachine/createInterruptController()``.
    public static let irqchip = Capability(rawValue: 0)
    /// ``VirtualMachine/setMemoryRegion(slot:gpa:memory:flags:)``.
    public static let userMemory = Capability(rawValue: 3)
    /// ``VirtualMachine/setTSSAddress(_:)``.
    public static let setTSSAddr = Capability(rawValue: 4)
    /// ``KVM/supportedCPUID()`` and ``VCPU/setCPUID(_:)``.
    public static let extCPUID = Capability(rawValue: 7)
    /// How many vCPUs are recommended: on x86 the host's CPUs.
    public static let nrVCPUs = Capability(rawValue: 9)
    /// How many memslots a VM can have.
    public static let nrMemslots = Capability(rawValue: 10)
    /// ``VCPU/mpState()``.
    public static let mpState = Capability(rawValue: 14)
    /// ``VCPU/nmi()``.
    public static let userNMI = Capability(rawValue: 22)
    /// ``VCPU/setGuestDebug(_:)``.
    public static let setGuestDebug = Capability(rawValue: 23)
    /// ``VirtualMachine/setGSIRouting(_:)``; how many routes there can be.
    public static let irqRouting = Capability(rawValue: 25)
    /// ``VirtualMachine/assignIRQFD(_:gsi:)``.
    public static let irqfd = Capability(rawValue: 32)
    /// ``VirtualMachine/createPIT(speakerDummy:)``.
    public static let pit2 = Capability(rawValue: 33)
    /// ``VirtualMachine/setBootVCPU(id:)``.
    public static let setBootCPUID = Capability(rawValue: 34)
    /// ``VirtualMachine/assignIOEventFD(_:_:)``.
    public static let ioeventfd = Capability(rawValue: 36)
    /// ``VirtualMachine/setIdentityMapAddress(_:)``.
    public static let setIdentityMapAddr = Capability(rawValue: 37)
    /// ``VirtualMachine/clock()``; the KVM_CLOCK_* flags that it gives, or 1 before Linux 4.9.
    public static let adjustClock = Capability(rawValue: 39)
    /// ``InternalError/data`` is filled in.
    public static let internalErrorData = Capability(rawValue: 40)
    /// ``VCPU/events()``.
    public static let vcpuEvents = Capability(rawValue: 41)
    /// ``VCPU/debugRegisters()``.
    public static let debugRegs = Capability(rawValue: 50)
    /// `KVM_ENABLE_CAP` of a vCPU.
    public static let enableCap = Capability(rawValue: 54)
    /// ``VCPU/xsave()``.
    public static let xsave = Capability(rawValue: 55)
    /// ``VCPU/xcrs()``.
    public static let xcrs = Capability(rawValue: 56)
    /// ``VCPU/setTSCKHz(_:)`` with another frequency than the host's.
    public static let tscControl = Capability(rawValue: 60)
    /// ``VCPU/tscKHz()``.
    public static let getTSCKHz = Capability(rawValue: 61)
    /// How many vCPUs a VM can have.
    public static let maxVCPUs = Capability(rawValue: 66)
    /// The local APIC's timer has the TSC-deadline mode.
    public static let tscDeadlineTimer = Capability(rawValue: 72)
    /// `kvm_run` carries registers: the bits of `kvm_valid_regs` that are supported.
    public static let syncRegs = Capability(rawValue: 74)
    /// ``VirtualMachine/signalMSI(address:data:)``.
    public static let signalMSI = Capability(rawValue: 77)
    /// ``MemoryFlags/readOnly``.
    public static let readonlyMem = Capability(rawValue: 81)
    /// ``VirtualMachine/assignIRQFD(_:gsi:resample:)``.
    public static let irqfdResample = Capability(rawValue: 82)
    /// ``VirtualMachine/createDevice(_:)``, which x86 has on kernels that do not say so, too (6.1).
    public static let deviceCtrl = Capability(rawValue: 89)
    /// System-management mode: ``VCPU/smi()``.
    public static let x86SMM = Capability(rawValue: 117)
    /// How many address spaces memslots come in (2 with SMM).
    public static let multiAddressSpace = Capability(rawValue: 118)
    /// ``VirtualMachine/createSplitInterruptController(pins:)``.
    public static let splitIRQChip = Capability(rawValue: 121)
    /// An ``IOEvent`` of any length.
    public static let ioeventfdAnyLength = Capability(rawValue: 122)
    /// ``VCPU/attribute(_:)``.
    public static let vcpuAttributes = Capability(rawValue: 127)
    /// One more than the highest vCPU id.
    public static let maxVCPUID = Capability(rawValue: 128)
    /// Local APICs with ids of 32 bits; enabled on a VM.
    public static let x2apicAPI = Capability(rawValue: 129)
    /// ``ImmediateExit`` and ``VCPU/completeIO()``.
    public static let immediateExit = Capability(rawValue: 136)
    /// The exits (KVM_X86_DISABLE_EXITS_*) that can be turned off, of MWAIT, HLT, PAUSE and C-states; enabled
    /// on a VM.
    public static let x86DisableExits = Capability(rawValue: 143)
    /// ``VCPU/nestedState()``; the most bytes that it takes.
    public static let nestedState = Capability(rawValue: 157)
    /// ``VCPUEvents/exceptionPayload``; enabled on a VM.
    public static let exceptionPayload = Capability(rawValue: 164)
    /// ``VirtualMachine/clearDirtyLog(slot:firstPage:pageCount:bitmap:)``; enabled on a VM.
    public static let manualDirtyLogProtect2 = Capability(rawValue: 168)
    /// ``VCPUExit/readMSR(_:)`` and ``VCPUExit/writeMSR(_:)``: the KVM_MSR_EXIT_REASON_* to exit for; enabled
    /// on a VM.
    public static let x86UserSpaceMSR = Capability(rawValue: 188)
    /// ``VirtualMachine/setMSRFilter(_:)``.
    public static let x86MSRFilter = Capability(rawValue: 189)
    /// ``VirtualMachine/enableDirtyRing(size:)``; the largest size, in bytes.
    public static let dirtyLogRing = Capability(rawValue: 192)
    /// ``VCPUExit/busLock``; enabled on a VM.
    public static let x86BusLockExit = Capability(rawValue: 193)
    /// The `KVM_GUESTDBG_*` bits that are supported.
    public static let setGuestDebug2 = Capability(rawValue: 195)
    /// `KVM_GET_SREGS2`: special registers with the four PDPTEs of PAE paging.
    public static let sregs2 = Capability(rawValue: 200)
    /// ``VCPUExit/hypercall(_:)``: the hypercalls to exit for, a bit each; enabled on a VM.
    public static let exitHypercall = Capability(rawValue: 201)
    /// ``VCPU/statistics()`` and ``VirtualMachine/statistics()``.
    public static let binaryStatsFD = Capability(rawValue: 203)
    /// An instruction of CPL 3 that cannot be emulated exits, too; enabled on a VM.
    public static let exitOnEmulationFailure = Capability(rawValue: 204)
    /// How many bits guest-physical addresses have.
    public static let vmGPABits = Capability(rawValue: 207)
    /// The size of the XSAVE area in bytes; 0 on kernels that have KVM_GET_XSAVE alone.
    public static let xsave2 = Capability(rawValue: 208)
    /// The KVM_X86_QUIRK_* that can be turned off; enabled on a VM.
    public static let disableQuirks2 = Capability(rawValue: 213)
    /// `KVM_SET_TSC_KHZ` of a VM.
    public static let vmTSCControl = Capability(rawValue: 214)
    /// The data of ``VCPUExit/systemEvent(type:data:)`` are counted. Before it there is one word, of flags.
    public static let systemEventData = Capability(rawValue: 215)
    /// ``VCPUEvents/tripleFaultPending``; enabled on a VM.
    public static let x86TripleFaultEvent = Capability(rawValue: 218)
    /// ``VCPUExit/notify(flags:)``; enabled on a VM.
    public static let x86NotifyVMExit = Capability(rawValue: 219)
    /// ``VCPUExit/memoryFault(flags:gpa:size:)``.
    public static let memoryFaultInfo = Capability(rawValue: 232)

    /// The kernel's name without `KVM_CAP_`, or the number where this list has none.
    public var description: String { Self.named[self] ?? "\(rawValue)" }

    /// All capabilities that have a name here, with the kernel's name for each, without `KVM_CAP_`.
    public static let named: [Capability: String] = [
        .irqRouting: "IRQ_ROUTING", .irqfd: "IRQFD", .ioeventfd: "IOEVENTFD",
        .irqfdResample: "IRQFD_RESAMPLE", .deviceCtrl: "DEVICE_CTRL", .x86SMM: "X86_SMM",
        .ioeventfdAnyLength: "IOEVENTFD_ANY_LENGTH", .vcpuAttributes: "VCPU_ATTRIBUTES",
        .nestedState: "NESTED_STATE",
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
