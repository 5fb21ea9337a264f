import CLinux
import Glibc
import KVMCore

/// What is told of a thread to who would have to put it back, and what one that was told finds.
extension TracedThread {
    /// Where it is told.
    struct Place {
        var records: ThreadRecords
        var index: Int
    }

    /// Calls for a vCPU without a thread are made in another one's name, which is not told of.
    private var told: Place? { isAbsent ? nil : place }

    func note(_ flags: ThreadRecord.Flags) { told.map { $0.records.set(flags, of: $0.index) } }
    func forget(_ flags: ThreadRecord.Flags) { told.map { $0.records.clear(flags, of: $0.index) } }

    /// It is about to go on with registers of its own.
    func forgetHold() {
        guard isHoldNoted else { return }
        isHoldNoted = false
        forget([.held, .atRun])
    }

    func noteHold(_ hold: Hold) {
        guard let place = told else { return }
        isHoldNoted = true
        place.records.hold(hold.registers, atRun: hold.isAtRun, of: place.index)
    }

    func noteMask(_ mask: UInt64) { told.map { $0.records.block(mask, of: $0.index) } }

    func noteTakingBack(to rip: UInt64) { told.map { $0.records.takeBack(to: rip, of: $0.index) } }

    // MARK: What another tracer has left

    /// It was killed while it completed a patch's exit: that is still to be done.
    func inheritCompletion() {
        guard inherited?.flags.contains(.completing) == true,
            inherited?.flags.contains(.takingBack) == false
        else { return }
        claimedExit = page.exitCopy()
        isCompleting = true
        page.setImmediateExit()
        note(.completing)
    }

    /// At the first stop.
    ///
    /// - Parameter registers: with which the other one has left the thread.
    /// - Returns: whether it is held, to go on as it was to.
    func takeOver(_ registers: user_regs_struct) -> Bool {
        guard let record = inherited else { return false }
        inherited = nil
        if record.flags.contains(.masked) {
            _ = clinux_ptrace_set_signal_mask(thread, record.mask)
        } else if record.flags.contains(.trapBlocked) {
            trapWasBlocked = true
        }
        let isTakingBack = record.flags.contains(.takingBack)
        if record.flags.contains(.held) {
            let own = record.registers.withUnsafeBytes { $0.loadUnaligned(as: user_regs_struct.self) }
            _ = hold(own, atRun: record.flags.contains(.atRun), .interrupted)
        } else if isTakingBack {
            // Back from the KVM_RUN that has completed the exit.
            _ = hold(registers, atRun: true, .interrupted)
        } else {
            return false
        }
        if isTakingBack { setInstructionPointer(record.rip) }
        return true
    }

    private static let getRegisters = UInt64(Request.getRegs.number)

    /// Of the guest. As often as it is done, the same comes of it.
    private func setInstructionPointer(_ rip: UInt64) {
        var general = [UInt8](repeating: 0, count: RunLayout.generalRegisters.count)
        guard call(vcpu.descriptor, Self.getRegisters, &general) == 0 else { return }
        let offset = RunLayout.rip - RunLayout.generalRegisters.lowerBound
        withUnsafeBytes(of: rip.littleEndian) { value in
            general.replaceSubrange(offset..<offset + 8, with: value)
        }
        _ = call(vcpu.descriptor, Self.setRegisters, &general)
    }
}
