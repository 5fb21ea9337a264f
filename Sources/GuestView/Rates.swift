import DebugTarget
import Debugger
import Host
import KVMCore

/// Exits a second: over the last second while the guest runs, over the whole last run while it stands.
package final class ExitRates {
    private let log: ExitLog
    private var ready: ExitStatistics?
    private var started: ExitStatistics
    private var samples: [ExitStatistics] = []
    private var wasRunning = false
    /// What the rates are between.
    private var from: ExitStatistics?
    private var now: ExitStatistics
    /// The counts when the guest stopped: what the last run's rates are taken at.
    private var end: ExitStatistics?

    /// A shorter run says nothing about a second.
    private static let shortest: UInt64 = 100_000_000

    init(log: ExitLog) {
        self.log = log
        started = log.statistics()
        now = started
    }

    /// The next command may let the guest go.
    func guestMayStart() { ready = log.statistics() }

    /// It did: rates are counted from before it.
    func guestStarts() {
        started = ready ?? log.statistics()
        samples = [started]
        wasRunning = true
        from = nil
    }

    /// The counts of this moment.
    func take(isRunning: Bool) -> ExitStatistics {
        now = log.statistics()
        if isRunning {
            // The newest that is a second old.
            while samples.count > 1, now.time &- samples[1].time > 1_000_000_000 { samples.removeFirst() }
            from = samples.first.flatMap { now.time &- $0.time >= Self.shortest ? $0 : nil }
            samples.append(now)
        } else if wasRunning {
            wasRunning = false
            end = now
            from = now.time &- started.time >= Self.shortest ? started : nil
        }
        return now
    }

    /// Of all exits where `key` is nil, of all vCPUs where `vcpu` is. Nil where too little time says nothing yet.
    func rate(of key: ExitKey?, vcpu: Int?) -> Double? {
        guard let from else { return nil }
        return (wasRunning ? now : end ?? now).rate(of: key, vcpu: vcpu, since: from)
    }
}

/// What the vCPUs' threads did with their time, looked at twice a second at most.
struct ThreadShares {
    private var samples: [Int32: ThreadSample] = [:]
    private var shares: [Int32: ThreadUsage] = [:]
    private var last: UInt64 = 0
    private var wasRunning = false

    mutating func look(at vcpus: [VCPUIdentity], isRunning: Bool) {
        let now = monotonicTime()
        // While the guest is stopped its threads do nothing: the last run's shares stay.
        guard samples.isEmpty || ((isRunning || wasRunning) && now &- last > 500_000_000) else {
            if isRunning { wasRunning = true }
            return
        }
        wasRunning = isRunning
        last = now
        for vcpu in vcpus {
            guard let sample = ThreadSample(process: vcpu.process, thread: vcpu.thread) else { continue }
            if let before = samples.updateValue(sample, forKey: vcpu.thread) {
                shares[vcpu.thread] = ThreadUsage(
                    from: before, to: sample, ticksPerSecond: ThreadSample.ticksPerSecond)
            }
        }
    }

    func share(of vcpu: VCPUIdentity) -> VCPULine.Share? {
        shares[vcpu.thread].map { .init(guest: $0.guest * 100, kernel: $0.kernel * 100, user: $0.user * 100) }
    }
}
