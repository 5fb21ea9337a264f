/// Segments, descriptor tables and control registers of one vCPU: the kernel's `struct kvm_sregs`.
public struct SpecialRegisters: Sendable, Hashable {
    /// Code.
    public var cs = Segment()
    /// Data.
    public var ds = Segment()
    /// Data: where string instructions store.
    public var es = Segment()
    /// Data; its base counts in 64-bit mode, too.
    public var fs = Segment()
    /// Data; its base counts in 64-bit mode, too.
    public var gs = Segment()
    /// The stack.
    public var ss = Segment()
    /// The task register: the TSS.
    public var tr = Segment()
    /// LDTR: the local descriptor table.
    public var ldt = Segment()
    /// GDTR: the global descriptor table.
    public var gdt = DescriptorTable()
    /// IDTR: the interrupt descriptor table, in real mode the IVT.
    public var idt = DescriptorTable()
    /// Protection, paging, and the x87's flags.
    public var cr0: CR0 = []
    /// The linear address of the last page fault.
    public var cr2: UInt64 = 0
    /// The guest-physical address of the topmost table, with PCID or flags in its low 12 bits.
    public var cr3: UInt64 = 0
    /// What of its extensions the processor has turned on.
    public var cr4: CR4 = []
    /// The task priority, 0 to 15.
    public var cr8: UInt64 = 0
    /// Long mode, SYSCALL and NX.
    public var efer: EFER = []
    /// IA32_APIC_BASE.
    public var apicBase: UInt64 = 0
    /// One bit a vector: at most one, the external interrupt that waits for injection
    /// (`kvm_sregs.interrupt_bitmap`).
    public var interruptBitmap = InterruptBitmap()

    /// All zero: a state that no processor has.
    public init() {}

    /// A segment by its name.
    public subscript(name: SegmentName) -> Segment {
        get {
            switch name {
            case .cs: cs
            case .ds: ds
            case .es: es
            case .fs: fs
            case .gs: gs
            case .ss: ss
            case .tr: tr
            case .ldt: ldt
            }
        }
        set {
            switch name {
            case .cs: cs = newValue
            case .ds: ds = newValue
            case .es: es = newValue
            case .fs: fs = newValue
            case .gs: gs = newValue
            case .ss: ss = newValue
            case .tr: tr = newValue
            case .ldt: ldt = newValue
            }
        }
    }
}

/// 256 bits, one a vector.
public struct InterruptBitmap: Sendable, Hashable {
    /// Bit `n % 64` of word `n / 64` is vector `n`.
    public var words: InlineWords
    /// 256 bits without a heap allocation.
    public typealias InlineWords = SIMD4<UInt64>

    /// - Parameter words: bit `n % 64` of word `n / 64` is vector `n`.
    public init(words: InlineWords = .zero) { self.words = words }

    /// Whether a vector's bit is set.
    public subscript(vector: UInt8) -> Bool {
        get { words[Int(vector >> 6)] >> UInt64(vector & 63) & 1 == 1 }
        set {
            let bit: UInt64 = 1 << UInt64(vector & 63)
            if newValue { words[Int(vector >> 6)] |= bit } else { words[Int(vector >> 6)] &= ~bit }
        }
    }
}

/// DR0-DR3, DR6 and DR7 as the guest sees them: the kernel's `struct kvm_debugregs`.
/// DR4 and DR5 are aliases of DR6 and DR7. Source: SDM volume 3B, 17.2.
public struct DebugRegisters: Sendable, Hashable {
    /// The linear address of breakpoint 0.
    public var dr0: UInt64 = 0
    /// The linear address of breakpoint 1.
    public var dr1: UInt64 = 0
    /// The linear address of breakpoint 2.
    public var dr2: UInt64 = 0
    /// The linear address of breakpoint 3.
    public var dr3: UInt64 = 0
    /// 0xFFFF0FF0 when no condition was met.
    public var dr6: UInt64 = 0xFFFF_0FF0
    /// 0x400 when nothing is enabled.
    public var dr7: UInt64 = 0x400

    /// As after reset: nothing armed and nothing met.
    public init() {}
}
