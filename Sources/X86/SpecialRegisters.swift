/// Segments, descriptor tables and control registers of one vCPU: the kernel's `struct kvm_sregs`.
public struct SpecialRegisters: Sendable, Hashable {
    public var cs = Segment()
    public var ds = Segment()
    public var es = Segment()
    public var fs = Segment()
    public var gs = Segment()
    public var ss = Segment()
    public var tr = Segment()
    public var ldt = Segment()
    public var gdt = DescriptorTable()
    public var idt = DescriptorTable()
    public var cr0: CR0 = []
    /// The linear address of the last page fault.
    public var cr2: UInt64 = 0
    public var cr3: UInt64 = 0
    public var cr4: CR4 = []
    /// The task priority, 0 to 15.
    public var cr8: UInt64 = 0
    public var efer: EFER = []
    /// IA32_APIC_BASE.
    public var apicBase: UInt64 = 0
    /// One bit a vector: at most one, the external interrupt that waits for injection
    /// (`kvm_sregs.interrupt_bitmap`).
    public var interruptBitmap = InterruptBitmap()

    public init() {}

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
    public var words: InlineWords
    public typealias InlineWords = SIMD4<UInt64>

    public init(words: InlineWords = .zero) { self.words = words }

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
    public var dr0: UInt64 = 0
    public var dr1: UInt64 = 0
    public var dr2: UInt64 = 0
    public var dr3: UInt64 = 0
    /// 0xFFFF0FF0 when no condition was met.
    public var dr6: UInt64 = 0xFFFF_0FF0
    /// 0x400 when nothing is enabled.
    public var dr7: UInt64 = 0x400

    public init() {}
}
