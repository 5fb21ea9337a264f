import DebugTarget
import Debugger
import Host

/// What the vCPUs' threads used since each was last looked at.
final class ThreadTimes {
    private var since: [Int32: ThreadSample] = [:]

    /// A share of less time than this says more of the kernel's ticks (10 ms) than of the thread: the older
    /// sample is then kept to compare with.
    private static let shortest: UInt64 = 500_000_000

    /// What is known of a vCPU's thread on the host.
    struct Host {
        var sample: ThreadSample
        /// Nil when there is no sample before, or no time has passed since.
        var usage: ThreadUsage?
    }

    init(_ vcpus: [VCPUIdentity]) {
        for identity in vcpus { _ = sample(identity) }
    }

    /// Nil where /proc does not show the thread.
    func sample(_ identity: VCPUIdentity) -> Host? {
        guard identity.thread > 0,
            let now = ThreadSample(process: identity.process, thread: identity.thread)
        else { return nil }
        let before = since[identity.thread]
        if before.map({ now.time > $0.time && now.time - $0.time >= Self.shortest }) ?? true {
            since[identity.thread] = now
        }
        return Host(
            sample: now,
            usage: before.flatMap {
                ThreadUsage(from: $0, to: now, ticksPerSecond: ThreadSample.ticksPerSecond)
            })
    }
}
