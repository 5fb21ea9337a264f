public import Debugger

/// A VMM that keeps its guest from running: paused at its own prompt, or not begun.
extension AttachedTarget: VCPUWithholding {
    public func withholding(vcpu id: Int) -> Withholding? {
        guard !isDetached, let member = members.first(where: { $0.identity.id == id }),
            member.waitForWithheld()
        else { return nil }
        if member.isStoppedBySignal {
            return Withholding(
                "the VMM (process \(guest.process)) is stopped by a signal (SIGSTOP, or Ctrl-Z at its terminal)",
                remedy: "`kill -CONT \(guest.process)` resumes it, and its guest with it")
        }
        let way =
            guest.vmm == .qemu
            ? "`cont` in QEMU's monitor does, or `virsh resume`" : "let it run there"
        if member.isAbsent {
            let seen =
                member.kernelVCPU() == nil
                ? "none of its threads was seen in KVM_RUN" : "no thread of it has called KVM_RUN"
            return Withholding(
                "\(guest.vmm.rawValue) has not begun to run vCPU \(id): \(seen)",
                remedy: "the guest has to be let run in its VMM: \(way)")
        }
        guard let call = member.waitsIn else { return nil }
        return Withholding(
            "\(guest.vmm.rawValue) keeps vCPU \(id) from running: its thread \(member.identity.thread) waits in "
                + "\(call), not in KVM_RUN",
            remedy:
                "the guest has to be let run in its VMM (\(way)) and here (`continue`), or sleeps in a HLT that the "
                + "VMM emulates")
    }
}
