/// Why KVM_RUN came back to user mode, with the payload copied out of `struct kvm_run`.
///
/// Source: Documentation/virt/kvm/api.rst, section 5. A reason that this list does not have keeps its number
/// and its raw payload.
public enum VCPUExit: Sendable, Hashable {
    /// KVM_EXIT_UNKNOWN: the host's own exit reason, which the kernel did not know.
    case unknown(hardwareReason: UInt64)
    /// KVM_EXIT_EXCEPTION.
    case exception(vector: UInt32, errorCode: UInt32)
    /// KVM_EXIT_IO.
    case io(PortIO)
    /// KVM_EXIT_HYPERCALL.
    case hypercall(Hypercall)
    /// KVM_EXIT_DEBUG.
    case debug(DebugExit)
    /// KVM_EXIT_HLT.
    case hlt
    /// KVM_EXIT_MMIO.
    case mmio(MMIO)
    /// KVM_EXIT_IRQ_WINDOW_OPEN.
    case irqWindowOpen
    /// KVM_EXIT_SHUTDOWN: on x86, a triple fault.
    case shutdown
    /// KVM_EXIT_FAIL_ENTRY: the processor refused to enter the guest on host CPU `cpu`.
    case failEntry(hardwareReason: UInt64, cpu: UInt32)
    /// KVM_EXIT_INTR, or KVM_RUN ended with EINTR: a signal or `immediate_exit`.
    case interrupted
    /// KVM_EXIT_SET_TPR.
    case setTPR
    /// KVM_EXIT_TPR_ACCESS.
    case tprAccess(rip: UInt64, isWrite: Bool)
    /// KVM_EXIT_NMI.
    case nmi
    /// KVM_EXIT_INTERNAL_ERROR.
    case internalError(InternalError)
    /// KVM_EXIT_WATCHDOG.
    case watchdog
    /// KVM_EXIT_SYSTEM_EVENT.
    case systemEvent(type: UInt32, data: [UInt64])
    /// KVM_EXIT_IOAPIC_EOI.
    case ioapicEOI(vector: UInt8)
    /// KVM_EXIT_HYPERV: the sub-type and its raw payload; ``hypervisor`` has it by name.
    case hyperV(type: UInt32, payload: [UInt8])
    /// KVM_EXIT_X86_RDMSR: answer with `VCPU.answer(msr:)`.
    case readMSR(MSRAccess)
    /// KVM_EXIT_X86_WRMSR.
    case writeMSR(MSRAccess)
    /// KVM_EXIT_DIRTY_RING_FULL.
    case dirtyRingFull
    /// KVM_EXIT_AP_RESET_HOLD.
    case apResetHold
    /// KVM_EXIT_X86_BUS_LOCK.
    case busLock
    /// KVM_EXIT_XEN: the sub-type and its raw payload; ``hypervisor`` has it by name.
    case xen(type: UInt32, payload: [UInt8])
    /// KVM_EXIT_NOTIFY.
    case notify(flags: UInt32)
    /// KVM_EXIT_MEMORY_FAULT.
    case memoryFault(flags: UInt64, gpa: UInt64, size: UInt64)
    /// KVM_EXIT_TDX.
    case tdx(TDXCall)
    /// KVM_EXIT_SNP_REQ_CERTS: a guest under SEV-SNP asks for certificates, in so many pages from `gpa` on.
    case snpCertificates(gpa: UInt64, pages: UInt64)
    /// A reason newer than this list or of another architecture: its number and the 256 raw payload bytes.
    case other(reason: UInt32, payload: [UInt8])
}

/// Up to eight bytes of an access, little-endian, without a heap allocation.
public struct AccessData: Sendable, Hashable {
    /// The bytes, the first in bits 0-7; those beyond ``count`` are zero.
    public var value: UInt64
    /// 0 to 8.
    public var count: Int
    /// - Parameters:
    ///   - value: the bytes, the first in bits 0-7; those beyond `count` are dropped.
    ///   - count: how many there are; taken for 0 to 8.
    public init(value: UInt64, count: Int) {
        self.count = min(max(count, 0), 8)
        self.value = self.count == 8 ? value : value & ((1 << UInt64(self.count * 8)) - 1)
    }
}

/// The payload of KVM_EXIT_IO.
public struct PortIO: Sendable, Hashable {
    /// Which way the data goes: KVM_EXIT_IO_IN or KVM_EXIT_IO_OUT.
    public enum Direction: UInt8, Sendable, Hashable {
        /// KVM_EXIT_IO_IN: the guest reads.
        case `in` = 0
        /// KVM_EXIT_IO_OUT: the guest writes.
        case out = 1
    }
    /// Whether the guest reads or writes.
    public var direction: Direction
    /// The port's number.
    public var port: UInt16
    /// The width of one access in bytes: 1, 2 or 4.
    public var size: Int
    /// How many accesses of ``size`` bytes: more than one for INS and OUTS with REP.
    public var count: Int
    /// OUT: what the guest wrote first. IN: zero until answered.
    public var data: AccessData
    /// OUTS with REP: all `size * count` bytes; empty when ``count`` is 1 or the guest reads.
    public var string: [UInt8]
    /// - Parameters:
    ///   - direction: whether the guest reads or writes.
    ///   - port: the port's number.
    ///   - size: the width of one access in bytes.
    ///   - count: how many accesses there are.
    ///   - data: what the guest wrote first.
    ///   - string: all that it wrote, where there is more than one access.
    public init(
        direction: Direction, port: UInt16, size: Int, count: Int = 1,
        data: AccessData, string: [UInt8] = []
    ) {
        self.direction = direction
        self.port = port
        self.size = size
        self.count = count
        self.data = data
        self.string = string
    }
}

/// The payload of KVM_EXIT_MMIO.
public struct MMIO: Sendable, Hashable {
    /// The guest-physical address of the first byte.
    public var gpa: UInt64
    /// Whether the guest writes.
    public var isWrite: Bool
    /// A write: the bytes. A read: the length, value zero until answered.
    public var data: AccessData
    /// - Parameters:
    ///   - gpa: the guest-physical address.
    ///   - isWrite: whether the guest writes.
    ///   - data: what it writes; for a read, how many bytes.
    public init(gpa: UInt64, isWrite: Bool, data: AccessData) {
        self.gpa = gpa
        self.isWrite = isWrite
        self.data = data
    }
}

/// The payload of KVM_EXIT_DEBUG (`struct kvm_debug_exit_arch`).
public struct DebugExit: Sendable, Hashable {
    /// The vector: 1 (#DB) or 3 (#BP).
    public var exception: UInt32
    /// The *linear* address of the next instruction (#DB), or of the INT3 (#BP).
    public var pc: UInt64
    /// DR6 as the processor set it: see ``isSingleStep`` and ``matched``.
    public var dr6: UInt64
    /// DR7 as it was armed.
    public var dr7: UInt64
    /// - Parameters:
    ///   - exception: the vector, 1 or 3.
    ///   - pc: the linear address.
    ///   - dr6: what the processor set.
    ///   - dr7: what was armed.
    public init(exception: UInt32, pc: UInt64, dr6: UInt64, dr7: UInt64) {
        self.exception = exception
        self.pc = pc
        self.dr6 = dr6
        self.dr7 = dr7
    }
    /// DR6.BS: a single step.
    public var isSingleStep: Bool { dr6 & 1 << 14 != 0 }
    /// DR6.B0-B3: which debug registers matched, a bit each.
    public var matched: UInt8 { UInt8(truncatingIfNeeded: dr6 & 0xF) }
}

/// The payload of KVM_EXIT_INTERNAL_ERROR.
public struct InternalError: Sendable, Hashable {
    /// 1 emulation failure, 2 simultaneous exceptions, 3 delivery event, 4 unexpected exit reason.
    public var suberror: UInt32
    /// `ndata` words as the kernel gave them, 16 at most.
    public var data: [UInt64]
    /// Emulation failure: the bytes that could not be emulated, where the kernel gives them (15 at most).
    public var instruction: [UInt8]
    /// - Parameters:
    ///   - suberror: KVM_INTERNAL_ERROR_*.
    ///   - data: the words that came with it.
    ///   - instruction: the bytes that could not be emulated.
    public init(suberror: UInt32, data: [UInt64], instruction: [UInt8] = []) {
        self.suberror = suberror
        self.data = data
        self.instruction = instruction
    }
}

/// The payload of KVM_EXIT_HYPERCALL.
public struct Hypercall: Sendable, Hashable {
    /// The hypercall's number: KVM_HC_*.
    public var number: UInt64
    /// Six words.
    public var arguments: [UInt64]
    /// KVM_EXIT_HYPERCALL_*; bit 0: the vCPU is in 64-bit mode (all there is before Linux 6.4).
    public var flags: UInt64
    /// - Parameters:
    ///   - number: KVM_HC_*.
    ///   - arguments: six words.
    ///   - flags: KVM_EXIT_HYPERCALL_*.
    public init(number: UInt64, arguments: [UInt64], flags: UInt64) {
        self.number = number
        self.arguments = arguments
        self.flags = flags
    }
}

/// The payload of KVM_EXIT_X86_RDMSR and KVM_EXIT_X86_WRMSR.
public struct MSRAccess: Sendable, Hashable {
    /// The MSR's number.
    public var index: UInt32
    /// The value written; zero for a read.
    public var data: UInt64
    /// `KVM_MSR_EXIT_REASON_*`, a bit each: 1 invalid, 2 unknown, 4 filtered.
    public var why: UInt32
    /// - Parameters:
    ///   - index: the MSR's number.
    ///   - data: the value written.
    ///   - why: KVM_MSR_EXIT_REASON_*.
    public init(index: UInt32, data: UInt64, why: UInt32) {
        self.index = index
        self.data = data
        self.why = why
    }
}

/// The payload of KVM_EXIT_TDX: a TDVMCALL that KVM leaves to user mode.
public struct TDXCall: Sendable, Hashable {
    /// The kernel's flags; none so far.
    public var flags: UInt64
    /// The TDVMCALL's number.
    public var number: UInt64
    /// What goes back to the guest, until it is answered what the kernel put there.
    public var result: UInt64
    /// The five words after the result. What they are is the number's to say: see ``named``.
    public var data: [UInt64]

    /// - Parameters:
    ///   - flags: the kernel's flags.
    ///   - number: the TDVMCALL's number.
    ///   - result: what goes back to the guest.
    ///   - data: the five words after it.
    public init(flags: UInt64, number: UInt64, result: UInt64, data: [UInt64]) {
        self.flags = flags
        self.number = number
        self.result = result
        self.data = data
    }

    /// The number's name in the kernel without `TDVMCALL_`; nil for one that is newer than this list.
    public var name: String? {
        switch number {
        case 0x10000: "GET_TD_VM_CALL_INFO"
        case 0x10002: "GET_QUOTE"
        case 0x10004: "SETUP_EVENT_NOTIFY_INTERRUPT"
        default: nil
        }
    }

    /// The words that the call uses, by the names of `struct kvm_run`.
    public var named: [(name: String, value: UInt64)] {
        let names: [String] =
            switch number {
            case 0x10000: ["leaf", "r11", "r12", "r13", "r14"]
            case 0x10002: ["gpa", "size"]
            case 0x10004: ["vector"]
            default: []
            }
        return Array(zip(names, data))
    }
}
