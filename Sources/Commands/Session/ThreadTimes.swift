import Debugger

/// What the vCPUs' threads used since each was last looked at.
final class ThreadTimes {
    private var last: [Int32: ThreadSample] = [:]

    /// What is known of a vCPU's thread on the host.
    struct Host {
        var sample: ThreadSample
        /// Since the sample before; nil when there is none, or no time has passed.
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
        let before = last.updateValue(now, forKey: identity.thread)
        return Host(
            sample: now,
            usage: before.flatMap {
                ThreadUsage(from: $0, to: now, ticksPerSecond: ThreadSample.ticksPerSecond)
            })
    }
}
