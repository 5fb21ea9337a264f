import Glibc
import KVMCore
import Locking
import Synchronization
import SystemPackage
import X86

/// Tries every facility, on a thread of its own: KVM_RUN that does not come back by itself is interrupted, and one that
/// cannot be interrupted is left behind.
// SAFETY: what two threads use is atomic or under the lock; nothing else changes.
final class HostProbe: Sendable {
    /// So long KVM_RUN may take for a handful of instructions, on the slowest of hosts; in milliseconds.
    private static let patience: Int32 = 2000
    /// So often one is interrupted in vain.
    private static let mostKicks = 5

    private struct Outcome {
        var facilities = DebugFacilities()
        var immediateExit: ImmediateExit?
        var isAbandoned = false
    }

    private let outcome = Lock(Outcome())
    /// Attempts that have begun.
    private let begun = Atomic<Int>(0)
    /// The attempt that took too long.
    private let late = Atomic<Int>(-1)

    /// Gets a byte when all is done.
    private let done: (readEnd: FileDescriptor, writeEnd: FileDescriptor)

    private let path: String

    private init(_ path: String) throws(Errno) {
        self.path = path
        do {
            done = try FileDescriptor.pipe()
        } catch {
            throw error as? Errno ?? .tooManyOpenFiles
        }
    }

    /// - Parameter path: the device, which is KVM's own.
    static func run(path: String = "/dev/kvm") -> DebugFacilities {
        let probe: HostProbe
        do {
            probe = try HostProbe(path)
        } catch {
            return DebugFacilities(obstacle: KVMError("pipe", error))
        }
        let thread: pthread_t
        do {
            thread = try KickSignal.startThread { probe.tryAll() }
        } catch {
            return DebugFacilities(obstacle: KVMError("pthread_create", error))
        }
        probe.wait(for: thread)
        return probe.outcome.withLock { $0.facilities }
    }

    /// Until the thread is done, or does not answer.
    private func wait(for thread: pthread_t) {
        var kicks = 0
        while kicks <= Self.mostKicks {
            let attempt = begun.load(ordering: .acquiring)
            var wish = pollfd(fd: done.readEnd.rawValue, events: Int16(POLLIN), revents: 0)
            if poll(&wish, 1, Self.patience) > 0 {
                pthread_join(thread, nil)
                try? done.readEnd.close()
                try? done.writeEnd.close()
                return
            }
            guard begun.load(ordering: .acquiring) == attempt else {
                kicks = 0
                continue
            }
            kicks += 1
            late.store(attempt, ordering: .releasing)
            outcome.withLock { $0.immediateExit }?.request()
            // It may have ended, but is not joined yet: its handle is good.
            pthread_kill(thread, KickSignal.number)
        }
        // The thread may come back some day: its descriptors stay.
        outcome.withLock { $0.isAbandoned = true }
        pthread_detach(thread)
    }

    private func tryAll() {
        defer { _ = try? done.writeEnd.writeAll([0]) }
        do throws(KVMError) {
            let kvm = try KVM.open(path: path)
            var guest = try ProbeGuest(kvm)
            try guest.settleTask()
            let vendor = Self.vendor(guest.cpuid)
            outcome.withLock { $0.facilities.vendor = vendor }
            var fresh: VCPU? = nil
            var reset = SpecialRegisters()
            for attempt in ProbeAttempt.all {
                let vcpu: VCPU
                if let fresh {
                    vcpu = fresh
                } else {
                    vcpu = try guest.makeVCPU()
                    reset = try vcpu.specialRegisters()
                    fresh = vcpu
                    let exit = vcpu.immediateExit
                    outcome.withLock { $0.immediateExit = exit }
                }
                let number = begun.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
                vcpu.immediateExit.clear()
                let (finding, isSpoilt) = attempt.run(guest, vcpu, reset: reset) {
                    late.load(ordering: .acquiring) == number
                }
                if isSpoilt { fresh = nil }
                let isOver = outcome.withLock { outcome in
                    if !outcome.isAbandoned {
                        outcome.facilities[attempt.facility, attempt.context] = finding
                    }
                    return outcome.isAbandoned
                }
                if isOver { return }
            }
        } catch {
            outcome.withLock { $0.facilities.obstacle = error }
        }
    }

    /// CPUID leaf 0: EBX, EDX, ECX.
    private static func vendor(_ cpuid: [CPUIDEntry]) -> String? {
        guard let leaf = cpuid.first(where: { $0.function == 0 }) else { return nil }
        let bytes = [leaf.ebx, leaf.edx, leaf.ecx].flatMap { word in
            (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        return String(decoding: bytes.filter { (0x20..<0x7F).contains($0) }, as: UTF8.self)
    }
}
