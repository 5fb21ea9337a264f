/// One leaf of CPUID as the guest sees it: `struct kvm_cpuid_entry2`. Source: api.rst, 4.20.
public struct CPUIDEntry: Sendable, Hashable {
    /// EAX going in.
    public var function: UInt32
    /// ECX going in; counts where ``hasIndex``.
    public var index: UInt32
    /// KVM_CPUID_FLAG_*; ``hasIndex`` is bit 0.
    public var flags: UInt32
    /// EAX coming out.
    public var eax: UInt32
    /// EBX coming out.
    public var ebx: UInt32
    /// ECX coming out.
    public var ecx: UInt32
    /// EDX coming out.
    public var edx: UInt32

    /// - Parameters:
    ///   - function: EAX going in.
    ///   - index: ECX going in.
    ///   - flags: KVM_CPUID_FLAG_*; 1 where `index` counts.
    ///   - eax: EAX coming out.
    ///   - ebx: EBX coming out.
    ///   - ecx: ECX coming out.
    ///   - edx: EDX coming out.
    public init(
        function: UInt32, index: UInt32 = 0, flags: UInt32 = 0, eax: UInt32 = 0, ebx: UInt32 = 0,
        ecx: UInt32 = 0, edx: UInt32 = 0
    ) {
        self.function = function
        self.index = index
        self.flags = flags
        self.eax = eax
        self.ebx = ebx
        self.ecx = ecx
        self.edx = edx
    }

    /// KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the answer depends on ECX going in.
    public var hasIndex: Bool { flags & 1 != 0 }
}
