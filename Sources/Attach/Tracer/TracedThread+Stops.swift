import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// What becomes of each stop of a traced thread.
extension TracedThread {
    /// A status of waitpid, taken apart.
    enum Stop: Equatable {
        case ended
        /// PTRACE_EVENT_STOP: our interrupt, or a group stop by this signal.
        case event(signal: Int32)
        case systemCall
        case signal(Int32)
        /// The thread is another program's now.
        case exec

        init?(status: Int32) {
            if status & 0x7F == 0 || (status & 0xFF != 0x7F) {
                self = .ended
                return
            }
            let signal = status >> 8 & 0xFF
            if status >> 16 == clinux_event_stop {
                self = .event(signal: signal)
            } else if status >> 16 == clinux_event_exec {
                self = .exec
            } else if status >> 16 != 0 {
                return nil
            } else if signal == SIGTRAP | 0x80 {
                self = .systemCall
            } else {
                self = .signal(signal)
            }
        }
    }

    /// Takes in one stop and lets the thread go on, or holds it.
    ///
    /// - Returns: what is to be told, if it now is stopped by itself.
    func handle(_ stop: Stop) -> TracerReply.Event? {
        guard case .going(let how) = state else {
            if stop == .ended || stop == .exec {
                leave(stop)
            } else if case .away(let hold) = state {
                returned(hold, stop)
            }
            return nil
        }
        switch stop {
        case .ended, .exec:
            leave(stop)
            return event(.gone)
        case .event(let signal):
            isGroupStopped = signal != SIGTRAP
            if isGroupStopped, !stopWanted {
                // A group stop (SIGSTOP to the VMM): it goes on with the group.
                if clinux_ptrace_go(clinux_go_listen, thread, 0) < 0 { lose() }
                return nil
            }
            return interrupted(how)
        case .systemCall: return systemCall()
        case .signal(SIGTRAP): return trapped(how)
        case .signal(let signal): return signalled(signal, how)
        }
    }

    // MARK: The kinds of stops

    private func interrupted(_ how: How) -> TracerReply.Event? {
        guard let registers = registers() else { return event(.gone) }
        if takeOver(registers) { return nil }
        if isRunReturn(registers) {
            if how == .run { trapIsPending = true }
            return runReturned(registers)
        }
        // Before KVM_RUN was issued again. What is to be completed comes first: it takes no time.
        if claimedExit != nil, registers.rip == site {
            go(howToRun)
            return nil
        }
        if how == .run, registers.rip == site {
            guard stopWanted else {
                go(how)
                return nil
            }
            var returned = registers
            returned.rip = registers.rip &+ 2
            return hold(returned, atRun: true, .interrupted)
        }
        guard stopWanted else {
            go(how)
            return nil
        }
        if isImpatient || isGroupStopped { return hold(registers, atRun: false, .elsewhere) }
        // In the VMM: it is caught when it next issues KVM_RUN.
        go(.toSystemCall)
        return nil
    }

    private func systemCall() -> TracerReply.Event? {
        var info = clinux_syscall_info()
        guard clinux_ptrace_syscall_info(thread, &info) >= 0 else {
            lose()
            return event(.gone)
        }
        if info.op == 1 {
            calls?.entered(thread, info)
            guard info.number == UInt64(SystemCall.ioctl), isRun(info.arguments.0, info.arguments.1) else {
                go(isWatched ? .toSystemCall : .free)
                return nil
            }
            isIssuedAgain = false
            // With immediate_exit set by the VMM, the EINTR that follows is the VMM's.
            if !isKickedByVMM, stopWanted || handledExit != nil {
                isCompleting = true
                page.setImmediateExit()
            }
            // Its return is looked at, whoever waits for it: this stop alone can make it end.
            go(.toSystemCall)
            return nil
        }
        calls?.left(thread, info)
        guard let registers = registers() else { return event(.gone) }
        if isRunReturn(registers) { return runReturned(registers) }
        // The interrupt that ended a sleep elsewhere was spent on this stop.
        if stopWanted, isImpatient { return hold(registers, atRun: false, .elsewhere) }
        go(isWatched ? .toSystemCall : .free)
        return nil
    }

    private func trapped(_ how: How) -> TracerReply.Event? {
        guard let registers = registers() else { return event(.gone) }
        if trapIsPending, registers.rip == site || how != .run {
            trapIsPending = false
            goOn(how)
            return nil
        }
        if how == .run {
            if isRunReturn(registers) { return runReturned(registers) }
            // Code that loops where KVM_RUN was called would have us look at each turn of it.
            idleTraps += 1
            goOn(idleTraps > Self.trapLimit ? .toSystemCall : .run)
            return nil
        }
        // The VMM's own.
        goOn(how, signal: SIGTRAP)
        return nil
    }

    /// Any stop spends an interrupt that was under way.
    private func goOn(_ how: How, signal: Int32 = 0) {
        if stopWanted { interrupt() }
        go(how, signal: signal)
    }

    /// A signal is about to be delivered to the VMM.
    private func signalled(_ signal: Int32, _ how: How) -> TracerReply.Event? {
        guard var registers = registers() else { return event(.gone) }
        let isCaught = SyscallRestart.isCaught(signal, process)
        let isReturned = isRunReturn(registers) && registers.rax == Self.interruptedResult
        let isBefore = registers.rip == site && isRun(registers.rdi, registers.rsi)
        if isReturned, claimedExit != nil { dropClaim(&registers, how) }
        if isBefore, isCaught {
            // It would have ended the KVM_RUN that is hidden from the VMM: let it see that it did.
            registers.rip = registers.rip &+ 2
            registers.rax = Self.interruptedResult
            set(&registers)
            goOn(isWatched ? .toSystemCall : .free, signal: signal)
        } else if isReturned, !isCaught {
            // Untraced, the thread would not have noticed: no handler, no EINTR.
            registers.rip = registers.rip &- 2
            registers.rax = UInt64(SystemCall.ioctl)
            registers.orig_rax = .max
            set(&registers)
            goOn(!seesReturns && isWatched ? .toSystemCall : howToRun, signal: signal)
        } else {
            goOn(how == .run && !isBefore ? .toSystemCall : how, signal: signal)
        }
        return nil
    }

    // MARK: KVM_RUN is back

    private var isKickedByVMM: Bool { page.load(RunLayout.immediateExit, as: UInt8.self) != 0 }

    /// -EINTR, as the system call returns it.
    static let interruptedResult = UInt64(bitPattern: -4)

    private func isRun(_ descriptor: UInt64, _ request: UInt64) -> Bool {
        Int32(truncatingIfNeeded: descriptor) == vcpu.descriptor
            && UInt32(truncatingIfNeeded: request) == SystemCall.kvmRun
    }

    /// The thread stands right after the `syscall` of KVM_RUN, with its result in RAX.
    private func isRunReturn(_ registers: user_regs_struct) -> Bool {
        guard registers.orig_rax == UInt64(SystemCall.ioctl), isRun(registers.rdi, registers.rsi) else {
            return false
        }
        if site != registers.rip &- 2 {
            guard Self.isSystemCall(process, at: registers.rip &- 2) else { return false }
            site = registers.rip &- 2
        }
        return true
    }

    /// 0F 05.
    static func isSystemCall(_ process: Int32, at address: UInt64) -> Bool {
        var code: (UInt8, UInt8) = (0, 0)
        // SAFETY: two bytes are read into two bytes.
        let count = withUnsafeMutableBytes(of: &code) {
            clinux_process_read(process, address, $0.baseAddress, $0.count)
        }
        return count == 2 && code == (0x0F, 0x05)
    }

    private func runReturned(_ registers: user_regs_struct) -> TracerReply.Event? {
        idleTraps = 0
        let wasCompleting = isCompleting
        if isCompleting {
            isCompleting = false
            page.clearImmediateExit()
        }
        let isDebug = registers.rax == 0 && page.exitReason == .debug
        if claimedExit != nil {
            if isDebug || registers.rax == Self.interruptedResult { return claimed(registers) }
            claimedExit = nil
        }
        if claimsPatch(registers) { return nil }
        if isDebug, isArmed {
            // An exit that the VMM has handled and that ended a step in being completed is to be told of.
            if isCovered() {
                issueRun(registers)
                return nil
            }
            return hold(registers, atRun: true, .debug)
        }
        if registers.rax == Self.interruptedResult {
            if wasCompleting, handledExit != nil { return hold(registers, atRun: true, .handled) }
            if stopWanted || wasCompleting { return hold(registers, atRun: true, .interrupted) }
            if isIssuedAgain || isKickedByVMM {
                isIssuedAgain = false
                go(.toSystemCall)
            } else {
                isIssuedAgain = true
                issueRun(registers)
            }
            return nil
        }
        isIssuedAgain = false
        // The exit is the VMM's. From one of these it may not come back.
        if registers.rax == 0, page.isFatal, mode == .runReportingHandled || !page.isShutdown {
            handledExit = page.exitCopy()
            return hold(registers, atRun: false, .fatal)
        }
        handledExit = registers.rax == 0 && mode == .runReportingHandled ? page.exitCopy() : nil
        // A VMM that writes over its kvm_run may never come to a KVM_RUN that is seen to end for our sake.
        if stopWanted, isImpatient { return hold(registers, atRun: false, .elsewhere) }
        go(isWatched ? .toSystemCall : .free)
        return nil
    }

    /// Keeps the thread where it is.
    func hold(_ registers: user_regs_struct, atRun: Bool, _ standing: TracerReply.Standing)
        -> TracerReply.Event?
    {
        let wanted = stopWanted
        stopWanted = false
        isImpatient = false
        let now = monotonicTime()
        state = .held(Hold(registers: registers, isAtRun: atRun, standing: standing, since: now))
        meter.held(at: now)
        defer { if [.handled, .debug, .fatal].contains(standing) { handledExit = nil } }
        // What we asked for is told in the answer to that.
        if wanted, passed.count == 0, standing == .interrupted || standing == .elsewhere { return nil }
        return event(standing)
    }

    private func event(_ standing: TracerReply.Standing) -> TracerReply.Event {
        defer { passed = TracerReply.Passed() }
        let page: [UInt8]? =
            switch standing {
            case .handled, .debug, .fatal: handledExit
            case .patch: claimedExit
            case .interrupted, .elsewhere, .gone, .running, .absent: nil
            }
        if standing == .patch { claimedExit = nil }
        return TracerReply.Event(
            index: 0, standing: standing, stood: meter.tell(), page: page ?? [], passed: passed)
    }
}
