public import DebugTarget
import Host
import KVMCore

/// A VMM that keeps its guest from running: paused at its own prompt, or not begun.
extension AttachedTarget: VCPUWithholding {
    public func withholding(vcpu id: Int) -> Withholding? {
        guard !isDetached, let member = members.first(where: { $0.identity.id == id }),
            member.waitForWithheld()
        else { return nil }
        if member.isStoppedBySignal {
            return Withholding(
                "the VMM (process \(guest.process)) is stopped by a signal (SIGSTOP, or Ctrl-Z at its terminal)",
                remedy: "kill -CONT \(guest.process) in a shell resumes it, and its guest with it")
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
        if let exit = member.waitForDeadlyExit() {
            return Withholding(
                "\(guest.vmm.rawValue) does not run vCPU \(id) since \(Self.text(exit)): its thread "
                    + "\(member.identity.thread) waits in \(call)",
                remedy:
                    "it cannot go on from there by itself: mend it and let it run in its VMM (\(way)), or reset it there"
            )
        }
        return Withholding(
            "\(guest.vmm.rawValue) keeps vCPU \(id) from running: its thread \(member.identity.thread) waits in "
                + "\(call), not in KVM_RUN",
            remedy:
                "the guest has to be let run in its VMM (\(way)) and resumed here, or sleeps in a HLT that the "
                + "VMM emulates")
    }
}

/// A guest that its VMM keeps from running because it cannot go on: a stop that nobody has to ask for.
extension AttachedTarget {
    /// Ends the run where a vCPU that was resumed has come to such an exit, which the VMM has seen already; once for each.
    func stopAtDeadlyExit() {
        guard holder == nil, report == nil else { return }
        var found: (member: AttachedVCPU, exit: VCPUExit)?
        for member in members where member.isOut && !member.isStanding && found == nil {
            found = member.newDeadlyExit().map { (member, $0) }
        }
        guard let (member, exit) = found else { return }
        do {
            try hold()
        } catch {
            return lost(error)
        }
        defer { if report == nil { resumeHeldMeasured() } }
        guard member.isOut, let controller = member.controller else { return }
        do {
            member.toldOfDeadlyExit()
            if case .stop(let reason) = try controller.decide(.fatal(exit), member.held) {
                finish(member, reason)
            }
        } catch {
            failed(member, error)
        }
    }

    /// Such an exit in the kernel's words, with its payload.
    static func text(_ exit: VCPUExit) -> String {
        switch exit {
        case .shutdown: "a triple fault (KVM_EXIT_SHUTDOWN)"
        case .failEntry(let reason, let cpu):
            "the processor refused to enter the guest (KVM_EXIT_FAIL_ENTRY on host CPU \(cpu), hardware reason 0x"
                + String(reason, radix: 16) + ")"
        case .internalError(let error):
            "an internal error of KVM (KVM_EXIT_INTERNAL_ERROR, suberror \(error.suberror))"
        default: "an exit that it cannot go on from"
        }
    }
}
