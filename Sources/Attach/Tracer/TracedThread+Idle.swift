import CLinux
import Glibc

/// A thread that is held while nobody asks for anything.
///
/// The kernel lets a thread go whose tracer is killed, with whatever the tracer has made of it: in single-step mode, of
/// which its process dies, or after a KVM_RUN that has ended in a debug exit of ours. While it is left alone it stands
/// so that it would just go on in KVM_RUN.
extension TracedThread {
    /// How long its stop may take, in nanoseconds.
    private static let stopLimit: UInt64 = 200_000_000

    /// Nobody has asked for anything for a while.
    func disarmWhileIdle() {
        guard !isIdle, case .held(let hold) = state else { return }
        isIdle = true
        if isArmed {
            // A call that does not come back may be done all the same.
            suspendedDebug = guestDebug
            var off = [UInt8](repeating: 0, count: Self.guestDebugSize)
            guard call(vcpu.descriptor, Self.setGuestDebug, &off) == 0, isHeld else { return }
        }
        forgetCalls(hold)
        guard isHeld else { return }
        // One that is held elsewhere, as in the VMM's own wait, goes on from there.
        var registers = hold.isAtRun ? atRun(hold.registers) : hold.registers
        set(&registers)
        // Only going on ends the single-step mode of the thread. Interrupted, it stops before it is out of the kernel.
        interrupt()
        guard isHeld, clinux_ptrace_go(How.free.rawValue, thread, 0) >= 0 else { return lose() }
        var budget = ThreadWait(Self.stopLimit)
        switch nextStop(&budget) {
        case .event(let signal): isGroupStopped = signal != SIGTRAP
        case .ended: leave(.ended)
        case .exec: leave(.exec)
        case nil: state = .away(hold)
        // The interrupt comes before either.
        case .systemCall, .signal: break
        }
    }

    /// Somebody does. A thread that is away is woken when it is to go on.
    func rearm() {
        guard isIdle, isHeld else { return }
        isIdle = false
        guard var debug = suspendedDebug else { return }
        suspendedDebug = nil
        _ = call(vcpu.descriptor, Self.setGuestDebug, &debug)
    }
}
