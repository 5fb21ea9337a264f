import CLinux
import DebugTarget
import Glibc
import KVMCore

/// Looks now and then whether a VMM whose guest runs with something of ours in it has changed what matters to that: it
/// has made or ended threads or opened descriptors, as for a vCPU that is plugged in, or patches in the guest's code are
/// overwritten.
struct VMMChangeWatcher {
    /// So often at most; monotonic nanoseconds.
    private static let interval: UInt64 = 10_000_000
    /// So often it looks again for something that is on its way.
    private static let pendingInterval: UInt64 = 50_000_000

    /// For so long after a change of threads it looks again and again, where descriptors are not counted: the vCPU may be
    /// made after the thread that is to run it, as QEMU does.
    private static let unsettled: UInt64 = 2_000_000_000

    private let process: Int32
    private let countsDescriptors: Bool
    private var settlesAt: UInt64 = 0
    private var lastLook: UInt64 = 0
    private var seen: Signature?
    /// Told, and not looked at yet by who was told.
    private var isTold = false
    private var pendingSince: UInt64?

    /// What changes with a vCPU: a thread, as a rule, and always a descriptor. Descriptors are counted by kernels from 6.2
    /// on (`st_size` of /proc/PID/fd).
    private struct Signature: Equatable {
        var threads: UInt64
        var descriptors: Int64

        init(_ process: Int32) {
            threads = Self.status("/proc/\(process)/task").map { UInt64($0.st_nlink) } ?? 0
            descriptors = Self.status("/proc/\(process)/fd").map { Int64($0.st_size) } ?? 0
        }

        private static func status(_ path: String) -> stat? {
            var status = stat()
            return stat(path, &status) == 0 ? status : nil
        }
    }

    /// - Parameter countsDescriptors: of any process, such as this one, the kernel says how many it has open.
    init(_ process: Int32, countsDescriptors: Bool = Signature(getpid()).descriptors > 0) {
        self.process = process
        self.countsDescriptors = countsDescriptors
    }

    /// - Parameter now: of the monotonic clock.
    mutating func isToTell(_ ledger: PatchLedger, now: UInt64 = monotonicTime()) -> Bool {
        guard !isTold, now &- lastLook >= Self.interval else { return false }
        lastLook = now
        let signature = Signature(process)
        // The first look tells, too: what came before it was not seen to come.
        var tells = signature != seen
        seen = signature
        if tells, !countsDescriptors { settlesAt = now &+ Self.unsettled }
        if let since = pendingSince, now &- since >= Self.pendingInterval {
            pendingSince = nil
            tells = true
        }
        if !tells { tells = ledger.isOverwritten(process) }
        isTold = tells
        return tells
    }

    mutating func noticed(isPending: Bool, now: UInt64 = monotonicTime()) {
        isTold = false
        pendingSince = isPending || now < settlesAt ? now : nil
    }
}
