import CKVM
public import X86

/// What KVM leaves in `kvm_run` at an exit where `kvm_valid_regs` asks for it (`struct kvm_sync_regs`), taken out of
/// a copy of those bytes.
public struct SyncedRegisters: Sendable, Hashable {
    /// Where the general and the special registers are in `kvm_run`, in bytes.
    public static let range = RunLayout.registers..<RunLayout.events

    /// What KVM_GET_REGS gives.
    public var general: GeneralRegisters
    /// What KVM_GET_SREGS gives.
    public var special: SpecialRegisters

    /// - Parameter bytes: those of ``range``; nil for fewer.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.range.count else { return nil }
        // SAFETY: both structures lie inside the bytes whose count was checked: the second ends where the range does.
        general = GeneralRegisters(bytes.loadUnaligned(as: kvm_regs.self))
        special = SpecialRegisters(
            bytes.loadUnaligned(
                fromByteOffset: RunLayout.specialRegisters - RunLayout.registers, as: kvm_sregs.self))
    }
}
