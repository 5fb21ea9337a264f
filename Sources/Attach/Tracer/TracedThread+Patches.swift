import CLinux
import DebugTarget
import Glibc
import KVMCore

/// What becomes of an exit that a patch in the guest's code made: the VMM never sees it.
extension TracedThread {
    var hasPatches: Bool { ledger?.isEmpty == false }

    /// After a KVM_RUN that ended in an exit. A patch's OUT is completed by a KVM_RUN that runs nothing else.
    ///
    /// - Returns: whether it is one.
    func claimsPatch(_ registers: user_regs_struct) -> Bool {
        guard registers.rax == 0, hasPatches, let ledger, let memory,
            ledger.isPatch(page, memory, isStep: isStepArmed)
        else {
            return false
        }
        claimedExit = page.exitCopy()
        note(.completing)
        isCompleting = true
        page.setImmediateExit()
        issueRun(registers)
        return true
    }

    /// Its completion is done: the thread is held, and the guest is put back to where the patch stands. Done here and
    /// at once, so that the end of the front end, at whatever moment, leaves no guest behind half an instruction.
    func claimed(_ registers: user_regs_struct) -> TracerReply.Event? {
        let place = placeToGoBackTo()
        let event = hold(registers, atRun: true, .patch)
        takeBack(to: place)
        return event
    }

    /// A signal to the VMM came between the completion and its stop. The VMM gets its signal, and its guest stands
    /// on the patch again, which it will come to once more.
    func dropClaim(_ registers: inout user_regs_struct, _ how: How) {
        let place = placeToGoBackTo()
        claimedExit = nil
        isCompleting = false
        page.clearImmediateExit()
        state = .held(
            Hold(registers: registers, isAtRun: true, standing: .interrupted, since: monotonicTime()))
        takeBack(to: place)
        endCalls()
        if isGone { return }
        set(&registers)
        state = .going(how)
    }

    static let setRegisters = UInt64(Request.setRegs.number)

    /// Told before the completed exit is forgotten.
    private func placeToGoBackTo() -> UInt64? {
        guard let registers = page.syncedRegisters else { return nil }
        let rip = OutPlace.before(registers)
        noteTakingBack(to: rip)
        return rip
    }

    private func takeBack(to rip: UInt64?) {
        guard let rip else { return }
        page.store(rip, at: RunLayout.rip)
        var argument = [UInt8](UnsafeRawBufferPointer(rebasing: page.bytes[RunLayout.generalRegisters]))
        _ = call(vcpu.descriptor, Self.setRegisters, &argument)
        forget(.takingBack)
    }
}
