public import KVMCore

/// Exits of every vCPU: counted by reason, timed, and the last ones kept with their payload.
///
/// A vCPU's thread writes through its ``ExitRecorder``; any thread reads.
public final class ExitLog: Sendable {
    public init() {}

    /// The recorder of a vCPU; made at the first call.
    public func recorder(for vcpu: Int) -> ExitRecorder { ExitRecorder() }
}

/// Where one vCPU's thread puts its exits.
public final class ExitRecorder: Sendable {
    /// - Parameters:
    ///   - start: when KVM_RUN was called, in CLOCK_MONOTONIC nanoseconds.
    ///   - end: when it returned.
    public func entered(_ exit: VCPUExit, start: UInt64, end: UInt64) {}

    /// The last exit's handling is over: KVM_RUN is about to be called, or the vCPU stops for the user.
    public func handled(at time: UInt64) {}
}
