/// What is counted apart: a thread's exits of one reason, or one port, page, register or vector that it touched.
///
/// 16 bytes, as the kernel's maps have them.
package struct CounterKey: Sendable, Hashable, Comparable {
    /// The thread that ran the vCPU.
    package var thread: Int32
    /// ``kind`` in bits 0-7; of ``CounterKind/instructionPointer``, the exit's reason above.
    package var tag: UInt32
    /// What it is of this kind: see ``CounterKind``.
    package var code: UInt64

    package init(thread: Int32, tag: UInt32, code: UInt64) {
        self.thread = thread
        self.tag = tag
        self.code = code
    }

    package init(_ thread: Int32, _ kind: CounterKind, _ code: UInt64) {
        self.init(thread: thread, tag: kind.rawValue, code: code)
    }

    /// Nil for a kind that this version does not know.
    package var kind: CounterKind? { CounterKind(rawValue: tag & 0xFF) }

    /// Of ``CounterKind/instructionPointer``: the low 24 bits of the exit's reason.
    package var reason: UInt32 { tag >> 8 }

    /// In two words: there are thousands of keys a second.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(UInt64(UInt32(bitPattern: thread)) << 32 | UInt64(tag))
        hasher.combine(code)
    }

    package static func < (left: CounterKey, right: CounterKey) -> Bool {
        (left.thread, left.tag, left.code) < (right.thread, right.tag, right.code)
    }
}

/// The kinds of counters, and what their codes are.
package enum CounterKind: UInt32, Sendable, Hashable, CaseIterable {
    /// kvm_exit: the instruction set in bits 32-63, the reason below. Timed from the exit to the next entry.
    case hardwareExit = 1
    /// kvm_userspace_exit: KVM_EXIT_*, or bit 32 and the errno of a KVM_RUN that failed. Timed to the next entry.
    case userspaceExit = 2
    /// The same codes; timed from the kvm_pio or kvm_mmio before. Only where no kvm_exit fires.
    case emulation = 3
    /// kvm_pio: bit 32 is set for OUT, the port below.
    case port = 4
    /// kvm_mmio: bit 63 is set for a write, the guest's page frame below.
    case mmio = 5
    /// kvm_msr: bit 32 is set for a write, the index below.
    case msr = 6
    /// kvm_inj_virq: the vector.
    case interrupt = 7
    /// kvm_hypercall: its number.
    case hypercall = 8
    /// kvm_halt_poll_ns: 1 where the time to poll grew, 0 where it shrank.
    case haltPollChange = 9
    /// kvm_page_fault: the page frame of the address that faulted.
    case pageFault = 10
    /// kvm_cpuid: the leaf.
    case cpuid = 11
    /// kvm_inj_exception: the vector.
    case exception = 12
    /// kvm_vcpu_wakeup: bit 0 is set where the vCPU slept, clear where polling was enough. Timed.
    case halt = 13
    /// kvm_exit: the guest's RIP.
    case instructionPointer = 14
    /// A counter that the kernel keeps for the whole VM, by its place in ``KernelCounter``; the thread is the process.
    case kernelCounter = 15

    /// It has times and a histogram, not only a count.
    package var isTimed: Bool {
        switch self {
        case .hardwareExit, .userspaceExit, .emulation, .halt: true
        default: false
        }
    }
}

extension CounterKey {
    /// Set in the code of a ``CounterKind/userspaceExit`` for a KVM_RUN that failed.
    package static let failedRun: UInt64 = 1 << 32
    /// Set in the code of a ``CounterKind/port`` or ``CounterKind/msr``.
    package static let write: UInt64 = 1 << 32
    /// Set in the code of a ``CounterKind/mmio``.
    package static let mmioWrite: UInt64 = 1 << 63
}
