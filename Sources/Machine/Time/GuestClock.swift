import KVMCore
import Synchronization

/// The guest's time: it passes while the guest runs or waits in a HLT, by a fixed amount for each instruction that is
/// stepped, and not at all while it is stopped.
///
/// One thread makes it pass: the boot processor's. Any thread reads it.
final class GuestClock: Sendable {
    /// What a step takes unless it is set, in nanoseconds.
    static let defaultStepTime: UInt64 = 100
    /// The longest that a step may take: a second.
    static let longestStepTime: UInt64 = 1_000_000_000

    private let passed = Atomic<UInt64>(0)
    /// When it began to pass, by the host's clock; 0 while none passes.
    private let since = Atomic<UInt64>(0)
    private let step = Atomic<UInt64>(defaultStepTime)

    /// Nanoseconds since the machine was made.
    var now: UInt64 {
        let begun = since.load(ordering: .acquiring)
        let base = passed.load(ordering: .acquiring)
        guard begun != 0 else { return base }
        let host = monotonicTime()
        return host > begun ? base &+ (host - begun) : base
    }

    /// Nanoseconds that pass with an instruction that is stepped.
    var stepTime: UInt64 {
        get { step.load(ordering: .relaxed) }
        set { step.store(min(newValue, Self.longestStepTime), ordering: .relaxed) }
    }

    /// The guest runs from here on; both by the host's clock, as `monotonicTime()`.
    func begin(at host: UInt64) { since.store(host, ordering: .releasing) }

    func end(at host: UInt64) {
        let begun = since.load(ordering: .relaxed)
        guard begun != 0 else { return }
        passed.store(
            passed.load(ordering: .relaxed) &+ (host > begun ? host - begun : 0), ordering: .releasing)
        since.store(0, ordering: .releasing)
    }

    /// An instruction was stepped.
    func stepped() {
        passed.store(passed.load(ordering: .relaxed) &+ stepTime, ordering: .releasing)
    }
}
