/// Makes a vCPU leave KVM_RUN, or not enter it: `kvm_run.immediate_exit`. Usable from any thread.
///
/// While it is requested, KVM_RUN returns at once. A vCPU that is inside KVM_RUN looks only when a signal
/// interrupts it; so to stop one, request first and then send its thread a signal that has a handler and that the
/// thread does not block (a thread inherits what its maker blocks, and libdispatch's block everything). The order
/// leaves no gap: a vCPU about to enter sees the request, and one inside gets the signal.
public struct ImmediateExit: Sendable {
    private let page: RunPage

    init(page: RunPage) { self.page = page }

    /// From now on KVM_RUN returns ``VCPUExit/interrupted``, until ``clear()``.
    public func request() { page.setImmediateExit(RunPage.ImmediateExitBit.requested) }

    /// KVM_RUN runs the guest again.
    public func clear() { page.clearImmediateExit(RunPage.ImmediateExitBit.requested) }

    /// Whether ``request()`` was called since the last ``clear()``.
    public var isRequested: Bool { page.hasImmediateExit(RunPage.ImmediateExitBit.requested) }
}
