import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// One system call in the name of a held thread, bounded in time: the VMM's code is the VMM's, and it may not be what
/// it was a moment ago.
extension TracedThread {
    /// How long a call may take, in nanoseconds, and how long its end may take once it was interrupted.
    private static let callLimit: UInt64 = 2_000_000_000
    private static let interruptLimit: UInt64 = 200_000_000
    /// How often its stop is looked for before the tracer sleeps: most calls take some tens of looks.
    private static let callLooks = 200
    /// More traps than this in a row, from one and the same instruction, are a loop and not left over from before.
    static let trapLimit = 4

    private enum Outcome {
        case returned(Int64)
        /// What stands there is no `syscall` instruction.
        case astray
        /// It has not come back.
        case away
        case gone
    }

    /// Makes a system call in the VMM. Returns what it returned, or -errno: -ESRCH if the thread is gone. Where the
    /// thread could not be brought to make it, or is still in it, ``trouble`` says so.
    func call(_ number: Int, _ first: UInt64, _ second: UInt64 = 0, _ third: UInt64 = 0) -> Int64 {
        trouble = nil
        guard case .held(let hold) = state else {
            if isAway { trouble = awayError }
            return Int64(-EBUSY)
        }
        guard let own = site ?? findSite(hold.registers) ?? spareSite(hold.registers) else {
            return Int64(-EAGAIN)
        }
        guard beginCalls() else {
            trouble = Self.filterError(EPERM)
            return Int64(-EACCES)
        }
        var registers = hold.registers
        registers.rax = UInt64(number)
        registers.orig_rax = .max
        registers.rdi = first
        registers.rsi = second
        registers.rdx = third
        registers.rip = otherSite ?? own
        var outcome = Outcome.astray
        if Self.isSystemCall(process, at: registers.rip) { outcome = inject(hold, registers) }
        if case .astray = outcome, otherSite == nil, let kernels = kernelSite() {
            otherSite = kernels
            registers.rip = kernels
            outcome = inject(hold, registers)
        }
        switch outcome {
        case .returned(let result): return result
        case .gone: return Int64(-ESRCH)
        case .away:
            trouble = awayError
            return Int64(-ETIMEDOUT)
        case .astray:
            trouble = HostGuestError(
                .astray,
                "the VMM has changed its own code: at \(hexadecimal(registers.rip)) thread \(thread) makes no "
                    + "system call any more, so that none can be made in its name")
            return Int64(-ENOEXEC)
        }
    }

    var awayError: HostGuestError {
        HostGuestError(
            .away,
            "a call that thread \(thread) of the VMM was made to make on vCPU \(vcpu.id) does not come back (it may "
                + "still be done)",
            remedy:
                "it waits in the kernel, as for another thread that runs the same vCPU; it is put back as soon as it "
                + "returns")
    }

    private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    /// The `syscall` instruction after which the thread stands, wherever in the VMM that is.
    private func findSite(_ registers: user_regs_struct) -> UInt64? {
        let candidate = registers.rip &- 2
        guard registers.cs == 0x33, Self.isSystemCall(process, at: candidate) else { return nil }
        site = candidate
        return candidate
    }

    /// A `syscall` instruction in the code that the kernel itself gives each process (vdso(7)).
    private func kernelSite() -> UInt64? {
        guard
            let area = ProcessFiles(process).text("maps").map(AddressMap.init)?.areas.first(where: {
                $0.name == "[vdso]"
            }), let code = LaunchFollower.bytes(process, area.start, Int(min(area.size, 1 << 16)))
        else { return nil }
        return code.indices.dropLast().first { code[$0] == 0x0F && code[$0 + 1] == 0x05 }.map {
            area.start &+ UInt64($0)
        }
    }

    /// The same, for a thread that is in no call: one that is busy in the VMM's own code.
    private func spareSite(_ registers: user_regs_struct) -> UInt64? {
        guard registers.cs == 0x33 else { return nil }
        otherSite = otherSite ?? kernelSite()
        return otherSite
    }

    private func inject(_ hold: Hold, _ start: user_regs_struct) -> Outcome {
        var registers = start
        set(&registers)
        var budget = ThreadWait(Self.callLimit)
        var isInterrupted = false
        var traps = 0
        var signal: Int32 = 0
        while !isGone {
            guard clinux_ptrace_go(How.run.rawValue, thread, signal) >= 0 else {
                lose()
                break
            }
            signal = 0
            var next = nextStop(&budget)
            if next == nil, !isInterrupted {
                isInterrupted = true
                budget = ThreadWait(Self.interruptLimit)
                interrupt()
                next = nextStop(&budget)
            }
            guard let stop = next else {
                state = .away(hold)
                return .away
            }
            switch stop {
            case .ended, .exec: leave(stop)
            case .event(let number): isGroupStopped = number != SIGTRAP
            case .systemCall, .signal: break
            }
            guard !isGone, let after = self.registers() else { break }
            guard after.rip == start.rip else {
                if case .event = stop { trapIsPending = true }
                let isCall = after.rip == start.rip &+ 2 && after.orig_rax == start.rax
                return isCall ? .returned(result(after)) : .astray
            }
            // A trap, an interrupt or a stop of the process that is left over from before comes ahead of the call.
            switch stop {
            case .signal(SIGTRAP) where trapIsPending: trapIsPending = false
            case .signal(SIGTRAP): traps += 1
            // No mask holds it off, and it is the VMM's.
            case .signal(SIGSTOP): signal = SIGSTOP
            case .signal: return .astray
            case .event, .systemCall, .ended, .exec: break
            }
            if traps > Self.trapLimit || budget.isOver(for: thread, of: process) { return .astray }
        }
        return .gone
    }

    /// What a call returned; one that was only interrupted would have been made again by the kernel (ERESTARTSYS and
    /// those after it, <linux/errno.h>).
    private func result(_ registers: user_regs_struct) -> Int64 {
        let result = Int64(bitPattern: registers.rax)
        return (-516 ... -512).contains(result) ? Int64(-ETIMEDOUT) : result
    }

    /// Waits for the thread's next stop; nil where it is not there in time, though it had a processor.
    func nextStop(_ budget: inout ThreadWait) -> Stop? {
        var look = 0
        while true {
            var status: Int32 = 0
            let result = clinux_wait(thread, &status, 0)
            if result == thread { return Stop(status: status) ?? .event(signal: SIGTRAP) }
            if result < 0 { return .ended }
            look += 1
            if look < Self.callLooks {
                sched_yield()
                continue
            }
            guard !budget.isOver(for: thread, of: process) else { return nil }
            _ = clinux_next_signal(5_000_000)
        }
    }

    // MARK: One that was away

    /// The call has come back at last: the thread is held as before, and goes on if it was to.
    func returned(_ hold: Hold, _ stop: Stop) {
        if case .event(let signal) = stop {
            isGroupStopped = signal != SIGTRAP
            trapIsPending = true
        }
        if let borrowed {
            page.bytes[borrowed.start..<borrowed.start + borrowed.bytes.count].copyBytes(from: borrowed.bytes)
            self.borrowed = nil
        }
        var registers = hold.registers
        set(&registers)
        if isGone { return }
        state = .held(hold)
        if isAbsent {
            let carrier = thread
            dismount()
            _ = clinux_ptrace_go(clinux_go_detach, carrier, 0)
        } else if isLeftBehind {
            release()
        } else if let leave {
            self.leave = nil
            resume(leave.mode, leave.plan)
        }
    }

    /// It has ended, or is another program's now.
    func leave(_ stop: Stop) {
        if isHeld || isAway { meter.went(at: monotonicTime()) }
        if stop == .exec { _ = clinux_ptrace_go(clinux_go_detach, thread, 0) }
        state = .gone
    }
}
