import CLinux
import DebugTarget
import Glibc
import KVMCore
import SystemPackage

/// Gets a vCPU out of KVM_RUN at a time: a guest that makes no exits has interrupts to take. It sends the vCPU's own thread
/// the signal of a kick, so that no other thread has to run for it.
///
/// The vCPU's thread alone sets it. A signal that comes right before KVM_RUN is without effect, so it comes again each
/// millisecond until another time is set.
final class KickTimer {
    /// Between two signals, in nanoseconds.
    private static let interval: UInt64 = 1_000_000
    /// What cannot be rung at.
    private static let never = UInt64.max

    /// The kernel's number, which is 0 for the first.
    private let timer: timer_t?
    /// When it rings next, at the latest.
    private var deadline = never
    /// It may have rung since it was set.
    private var mayHaveRung = false

    /// - Parameter thread: the kernel's number of a thread of this process.
    /// - Throws: EAGAIN where `ulimit -i` (RLIMIT_SIGPENDING) is reached.
    init(thread: Int32) throws(Errno) {
        _ = KickSignal.install
        var made: timer_t?
        let result = clinux_thread_timer(thread, KickSignal.number, &made)
        guard result == 0 else { throw Errno(rawValue: -result) }
        timer = made
    }

    deinit { timer_delete(timer) }

    var isSet: Bool { deadline != Self.never }

    /// Rings at `time` (as `monotonicTime()`) or before, when it is set anew: one that is set for an earlier time already is
    /// left as it is, which costs no call. Nil: there is nothing to ring for.
    @inline(__always)
    func set(_ time: UInt64?) {
        let time = time ?? Self.never
        guard time < deadline || mayHaveRung else { return }
        change(to: time)
    }

    /// Does not ring before `time`, though it was set for an earlier one; nil is never.
    func putOff(to time: UInt64?) {
        let time = time ?? Self.never
        if deadline < time || mayHaveRung { change(to: time) }
    }

    /// A signal came.
    func rang() { mayHaveRung = isSet }

    private func change(to time: UInt64) {
        // 0 would switch it off.
        clinux_set_timer(timer, time == Self.never ? 0 : max(time, 1), Self.interval)
        deadline = time
        mayHaveRung = false
    }
}
