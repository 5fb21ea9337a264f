/// Why KVM_RUN came back, by number: `kvm_run.exit_reason`.
///
/// Source: include/uapi/linux/kvm.h.
public struct ExitReason: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let unknown = ExitReason(rawValue: 0)
    public static let exception = ExitReason(rawValue: 1)
    public static let io = ExitReason(rawValue: 2)
    public static let hypercall = ExitReason(rawValue: 3)
    public static let debug = ExitReason(rawValue: 4)
    public static let hlt = ExitReason(rawValue: 5)
    public static let mmio = ExitReason(rawValue: 6)
    public static let irqWindowOpen = ExitReason(rawValue: 7)
    public static let shutdown = ExitReason(rawValue: 8)
    public static let failEntry = ExitReason(rawValue: 9)
    public static let intr = ExitReason(rawValue: 10)
    public static let setTPR = ExitReason(rawValue: 11)
    public static let tprAccess = ExitReason(rawValue: 12)
    public static let nmi = ExitReason(rawValue: 16)
    public static let internalError = ExitReason(rawValue: 17)
    public static let watchdog = ExitReason(rawValue: 21)
    public static let systemEvent = ExitReason(rawValue: 24)
    public static let ioapicEOI = ExitReason(rawValue: 26)
    public static let hyperV = ExitReason(rawValue: 27)
    public static let readMSR = ExitReason(rawValue: 29)
    public static let writeMSR = ExitReason(rawValue: 30)
    public static let dirtyRingFull = ExitReason(rawValue: 31)
    public static let apResetHold = ExitReason(rawValue: 32)
    public static let busLock = ExitReason(rawValue: 33)
    public static let xen = ExitReason(rawValue: 34)
    public static let notify = ExitReason(rawValue: 37)
    public static let memoryFault = ExitReason(rawValue: 39)
    public static let tdx = ExitReason(rawValue: 40)
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
