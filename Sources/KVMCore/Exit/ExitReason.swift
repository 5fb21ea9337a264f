/// Why KVM_RUN came back, by number: `kvm_run.exit_reason`.
///
/// Source: include/uapi/linux/kvm.h.
public struct ExitReason: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    /// The kernel's bits.
    public var rawValue: UInt32
    /// - Parameter rawValue: the kernel's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// KVM_EXIT_IO.
    public static let unknown = ExitReason(rawValue: 0)
    /// KVM_EXIT_HLT.
    public static let exception = ExitReason(rawValue: 1)
    /// KVM_EXIT_UNKNOWN.
    public static let io = ExitReason(rawValue: 2)
    /// KVM_EXIT_EXCEPTION.
    public static let hypercall = ExitReason(rawValue: 3)
    /// KVM_EXIT_IO.
    public static let debug = ExitReason(rawValue: 4)
    /// KVM_EXIT_HYPERCALL.
    public static let hlt = ExitReason(rawValue: 5)
    /// KVM_EXIT_DEBUG.
    public static let mmio = ExitReason(rawValue: 6)
    /// KVM_EXIT_HLT.
    public static let irqWindowOpen = ExitReason(rawValue: 7)
    /// KVM_EXIT_MMIO.
    public static let shutdown = ExitReason(rawValue: 8)
    /// KVM_EXIT_IRQ_WINDOW_OPEN.
    public static let failEntry = ExitReason(rawValue: 9)
    /// KVM_EXIT_SHUTDOWN.
    public static let intr = ExitReason(rawValue: 10)
    /// KVM_EXIT_FAIL_ENTRY.
    public static let setTPR = ExitReason(rawValue: 11)
    /// KVM_EXIT_INTR.
    public static let tprAccess = ExitReason(rawValue: 12)
    /// KVM_EXIT_S390_RESET.
    public static let nmi = ExitReason(rawValue: 16)
    /// KVM_EXIT_DCR.
    public static let internalError = ExitReason(rawValue: 17)
    /// KVM_EXIT_PAPR_HCALL.
    public static let watchdog = ExitReason(rawValue: 21)
    /// KVM_EXIT_S390_TSCH.
    public static let systemEvent = ExitReason(rawValue: 24)
    /// KVM_EXIT_SYSTEM_EVENT.
    public static let ioapicEOI = ExitReason(rawValue: 26)
    /// KVM_EXIT_S390_STSI.
    public static let hyperV = ExitReason(rawValue: 27)
    /// KVM_EXIT_HYPERV.
    public static let readMSR = ExitReason(rawValue: 29)
    /// KVM_EXIT_ARM_NISV.
    public static let writeMSR = ExitReason(rawValue: 30)
    /// KVM_EXIT_X86_RDMSR.
    public static let dirtyRingFull = ExitReason(rawValue: 31)
    /// KVM_EXIT_X86_WRMSR.
    public static let apResetHold = ExitReason(rawValue: 32)
    /// KVM_EXIT_DIRTY_RING_FULL.
    public static let busLock = ExitReason(rawValue: 33)
    /// KVM_EXIT_AP_RESET_HOLD.
    public static let xen = ExitReason(rawValue: 34)
    /// KVM_EXIT_RISCV_SBI.
    public static let notify = ExitReason(rawValue: 37)
    /// KVM_EXIT_NOTIFY.
    public static let memoryFault = ExitReason(rawValue: 39)
    /// KVM_EXIT_LOONGARCH_IOCSR.
    public static let tdx = ExitReason(rawValue: 40)
    /// KVM_EXIT_ARM_SEA.
    public static let snpCertificates = ExitReason(rawValue: 43)

    /// The kernel's name without `KVM_EXIT_`, as "IO" or "HLT", of any architecture; nil for a number newer
    /// than this list.
    public var name: String? {
        rawValue < UInt32(Self.names.count) ? Self.names[Int(rawValue)] : nil
    }

    /// The name, or the number.
    public var description: String { name ?? "\(rawValue)" }

    private static let names = [
        "UNKNOWN", "EXCEPTION", "IO", "HYPERCALL", "DEBUG", "HLT", "MMIO", "IRQ_WINDOW_OPEN", "SHUTDOWN",
        "FAIL_ENTRY", "INTR", "SET_TPR", "TPR_ACCESS", "S390_SIEIC", "S390_RESET", "DCR", "NMI",
        "INTERNAL_ERROR", "OSI", "PAPR_HCALL", "S390_UCONTROL", "WATCHDOG", "S390_TSCH", "EPR",
        "SYSTEM_EVENT", "S390_STSI", "IOAPIC_EOI", "HYPERV", "ARM_NISV", "X86_RDMSR", "X86_WRMSR",
        "DIRTY_RING_FULL", "AP_RESET_HOLD", "X86_BUS_LOCK", "XEN", "RISCV_SBI", "RISCV_CSR", "NOTIFY",
        "LOONGARCH_IOCSR", "MEMORY_FAULT", "TDX", "ARM_SEA", "ARM_LDST64B", "SNP_REQ_CERTS",
    ]
}

extension VCPUExit {
    /// The number that this exit came with.
    public var reason: ExitReason {
        switch self {
        case .unknown: .unknown
        case .exception: .exception
        case .io: .io
        case .hypercall: .hypercall
        case .debug: .debug
        case .hlt: .hlt
        case .mmio: .mmio
        case .irqWindowOpen: .irqWindowOpen
        case .shutdown: .shutdown
        case .failEntry: .failEntry
        case .interrupted: .intr
        case .setTPR: .setTPR
        case .tprAccess: .tprAccess
        case .nmi: .nmi
        case .internalError: .internalError
        case .watchdog: .watchdog
        case .systemEvent: .systemEvent
        case .ioapicEOI: .ioapicEOI
        case .hyperV: .hyperV
        case .readMSR: .readMSR
        case .writeMSR: .writeMSR
        case .dirtyRingFull: .dirtyRingFull
        case .apResetHold: .apResetHold
        case .busLock: .busLock
        case .xen: .xen
        case .notify: .notify
        case .memoryFault: .memoryFault
        case .tdx: .tdx
        case .snpCertificates: .snpCertificates
        case .other(let reason, _): ExitReason(rawValue: reason)
        }
    }
}
