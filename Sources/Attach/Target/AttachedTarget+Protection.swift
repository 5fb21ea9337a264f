import DebugTarget
import Host
import KVMCore
import SystemPackage

/// Encrypted guests where the kernel cannot be asked for its own structures.
extension AttachedTarget {
    /// Asks each vCPU for its registers, with a short stop, before anything is changed: KVM_RUN of a VM with protected
    /// state fails where registers are to come with its exits (kvm_sync_valid_fields in arch/x86/kvm/x86.c).
    ///
    /// - Throws: `.encrypted`; nothing was changed then.
    func checkProtection() throws {
        try hold()
        for member in members {
            do throws(KVMError) {
                _ = try member.vcpu.registers()
            } catch {
                throw Self.encryption(error, vcpu: member.identity.id) ?? error
            }
        }
        if host.sync != 0 {
            try client.tell(.synchronise(mask: host.sync))
            // Nothing has been left in the pages yet.
            for member in members { member.vcpu.forgetExit() }
        }
        resumeHeld()
    }

    /// What a refusal of KVM_GET_REGS says: EINVAL comes of a VM with protected state and a vCPU whose state is protected
    /// (`has_protected_state`, `guest_state_protected`) alone: SEV-ES, SEV-SNP, TDX. A SEV-ES VM that was made by the old
    /// KVM_SEV_ES_INIT is not told by this, and takes no harm of registers that come with exits. Source:
    /// kvm_arch_vcpu_ioctl_get_regs in arch/x86/kvm/x86.c.
    static func encryption(_ error: KVMError, vcpu: Int) -> HostGuestError? {
        guard error.errno == .invalidArgument else { return nil }
        return HostGuestError(
            .encrypted,
            "the guest is encrypted (SEV-ES, SEV-SNP or TDX): KVM does not give the registers of vCPU \(vcpu)",
            remedy: "its memory and registers cannot be read from the host, by design")
    }
}
