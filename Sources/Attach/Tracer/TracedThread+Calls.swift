import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// System calls in the name of a held thread.
extension TracedThread {
    private static let trapBit: UInt64 = 1 << (5 - 1)

    /// Before the first call of a hold: no signal gets in between, and no filter ends the VMM.
    ///
    /// - Returns: false where a filter would, and cannot be lifted.
    func beginCalls() -> Bool {
        guard savedMask == nil else { return true }
        // The thread may have got its filter since it was last looked at: it is lifted whether there is one or not.
        isFilterLifted = clinux_ptrace_options(thread, Self.options | clinux_option_suspend_seccomp) >= 0
        if !isFilterLifted {
            hasFilter = Self.isFiltered(thread, process)
            if hasFilter { return false }
        }
        var mask: UInt64 = 0
        guard clinux_ptrace_get_signal_mask(thread, &mask) >= 0 else { return true }
        noteMask(trapWasBlocked ? mask | Self.trapBit : mask)
        // SIGTRAP stays open: forcing a blocked one would reset what the VMM does with it.
        _ = clinux_ptrace_set_signal_mask(thread, ~Self.trapBit)
        savedMask = mask
        return true
    }

    static func isFiltered(_ thread: Int32, _ process: Int32) -> Bool {
        ProcessFiles(process).text("task/\(thread)/status").flatMap(ProcessStatus.init)?.seccomp == 2
    }

    /// After the last one.
    func endCalls() {
        if isFilterLifted {
            isFilterLifted = false
            _ = clinux_ptrace_options(thread, Self.options)
        }
        guard let mask = savedMask else {
            openTrap()
            return
        }
        savedMask = nil
        if mask & Self.trapBit != 0 {
            trapWasBlocked = true
            note(.trapBlocked)
        }
        _ = clinux_ptrace_set_signal_mask(thread, mask & ~Self.trapBit)
        forget(.masked)
        isTrapOpen = true
    }

    /// Once, before the first step: takes SIGTRAP out of the thread's mask.
    private func openTrap() {
        guard !isTrapOpen else { return }
        var mask: UInt64 = 0
        guard clinux_ptrace_get_signal_mask(thread, &mask) >= 0 else { return }
        isTrapOpen = true
        guard mask & Self.trapBit != 0 else { return }
        trapWasBlocked = true
        note(.trapBlocked)
        _ = clinux_ptrace_set_signal_mask(thread, mask & ~Self.trapBit)
    }

    /// Whether a filter of the thread can be lifted for calls: tried once, with nothing called.
    func checkFilter() throws(HostGuestError) {
        // In the midst of calls it is lifted, and has to stay so.
        guard hasFilter, isHeld, savedMask == nil else { return }
        let result = clinux_ptrace_options(thread, Self.options | clinux_option_suspend_seccomp)
        _ = clinux_ptrace_options(thread, Self.options)
        if result < 0 { throw Self.filterError(-result) }
    }

    /// What a refusal of PTRACE_O_SUSPEND_SECCOMP means: EPERM without CAP_SYS_ADMIN or under a filter of the tracer's
    /// own, EINVAL from a kernel that has no such option. Source: ptrace(2).
    static func filterError(_ errno: Int32) -> HostGuestError {
        let reason = String(cString: strerror(errno))
        let remedy =
            switch errno {
            case EPERM:
                "PTRACE_O_SUSPEND_SECCOMP needs CAP_SYS_ADMIN (run as root), and no filter on kvmscope itself"
            case EINVAL:
                "PTRACE_O_SUSPEND_SECCOMP needs a kernel with CONFIG_CHECKPOINT_RESTORE and CONFIG_SECCOMP"
            default:
                "start the VMM without its filter (QEMU: without `-sandbox`; Firecracker: `--no-seccomp`)"
            }
        return HostGuestError(
            .seccomp,
            "the VMM filters the system calls of its vCPU threads, and the filter cannot be lifted (\(reason))",
            remedy: remedy)
    }

    /// An ioctl in the VMM whose argument lies in memory, which is the shared page's unused part. `argument` is
    /// replaced by what the kernel made of it.
    func call(_ descriptor: Int32, _ request: UInt64, _ argument: inout [UInt8]) -> Int32 {
        var none = [UInt8]()
        return call(descriptor, request, &argument, offset: nil, &none)
    }

    /// The same, with the address of `indirect` at `offset` in the argument.
    func call(
        _ descriptor: Int32, _ request: UInt64, _ argument: inout [UInt8], offset: Int?,
        _ indirect: inout [UInt8]
    ) -> Int32 {
        if let offset, offset < 0 || offset + 8 > argument.count { return -EINVAL }
        let start = SharedRunPage.scratch
        let second = start + (argument.count + 63) / 64 * 64
        guard second + indirect.count <= start + SharedRunPage.scratchSize else { return -E2BIG }
        let end = second + indirect.count
        guard isHeld else { return Int32(truncatingIfNeeded: call(SystemCall.ioctl, 0)) }
        let sent = argument
        let saved = [UInt8](UnsafeRawBufferPointer(rebasing: page.bytes[start..<end]))
        page.bytes[start..<start + argument.count].copyBytes(from: argument)
        page.bytes[second..<end].copyBytes(from: indirect)
        if let offset {
            page.store(pageAddress &+ UInt64(second), at: start + offset)
        }
        let result = call(
            SystemCall.ioctl, UInt64(bitPattern: Int64(descriptor)), request, pageAddress &+ UInt64(start))
        guard !isAway else {
            // The kernel may still read it.
            borrowed = (start, saved)
            // It may be done or not: what was on has still to be switched off.
            if request == Self.setGuestDebug, descriptor == vcpu.descriptor, Self.arms(sent) {
                guestDebug = sent
            }
            return Int32(truncatingIfNeeded: result)
        }
        defer { page.bytes[start..<end].copyBytes(from: saved) }
        argument = [UInt8](UnsafeRawBufferPointer(rebasing: page.bytes[start..<start + argument.count]))
        indirect = [UInt8](UnsafeRawBufferPointer(rebasing: page.bytes[second..<end]))
        // Whoever sets RIP while a patch's OUT is still to be completed has it where it is to be.
        if result == 0, request == Self.setRegisters, descriptor == vcpu.descriptor {
            claimedExit = nil
            withdrawFatalExit()
        }
        if result == 0, request == Self.setGuestDebug, descriptor == vcpu.descriptor {
            guestDebug = sent
        }
        return Int32(truncatingIfNeeded: result)
    }

    static let setGuestDebug = UInt64(Request.setGuestDebug.number)
    /// KVM_GUESTDBG_ENABLE and KVM_GUESTDBG_SINGLESTEP, in the first byte of `struct kvm_guest_debug`.
    static let guestDebugEnable = UInt8(GuestDebug.Control.enable.rawValue)
    static let guestDebugStep = UInt8(GuestDebug.Control.singleStep.rawValue)
    static let guestDebugSize = GuestDebug.byteCount

    static func arms(_ guestDebug: [UInt8]) -> Bool { (guestDebug.first ?? 0) & guestDebugEnable != 0 }

    /// Whoever sets RIP after an exit that would end the guest has mended it: it goes on from there, and the VMM is not to
    /// see the exit.
    private func withdrawFatalExit() {
        guard case .held(var hold) = state, hold.standing == .fatal else { return }
        hold.isAtRun = true
        state = .held(hold)
    }

    // MARK: Putting back

    /// Puts back all that was changed and lets the thread go on untraced. It must be held.
    func release() {
        // Before the thread is detached: from then on the page is the VMM's.
        restorePage()
        isLeftBehind = isAway
        guard case .held(let hold) = state else { return }
        if isArmed {
            var off = [UInt8](repeating: 0, count: Self.guestDebugSize)
            _ = call(vcpu.descriptor, Self.setGuestDebug, &off)
            // All else is done once it is back.
            isLeftBehind = isAway
            if isLeftBehind { return }
            guestDebug = []
        }
        forgetCalls(hold)
        isLeftBehind = isAway
        if isLeftBehind { return }
        state = .untraced
        meter.went(at: monotonicTime())
        var registers = hold.registers
        if hold.isAtRun { registers = atRun(registers) }
        set(&registers)
        forgetHold()
        if !isGone { _ = clinux_ptrace_go(clinux_go_detach, thread, 0) }
    }

    /// The thread's signals are again as it has them.
    func forgetCalls(_ hold: Hold) {
        drainTrap(hold)
        endCalls()
        isTrapOpen = false
        guard trapWasBlocked else { return }
        trapWasBlocked = false
        var mask: UInt64 = 0
        if clinux_ptrace_get_signal_mask(thread, &mask) >= 0 {
            _ = clinux_ptrace_set_signal_mask(thread, mask | Self.trapBit)
        }
        forget(.trapBlocked)
    }

    /// A trap that is still to come would end the VMM once it is not traced.
    func drainTrap(_ hold: Hold) {
        guard trapIsPending else { return }
        // A call that does nothing takes it in.
        _ = call(SystemCall.close, .max)
        trapIsPending = false
    }
}
