/// The counters that KVM keeps of each VM in debugfs, where nothing better can be had. Source: kvm_vcpu_stats_desc in
/// arch/x86/kvm/x86.c; the file of a VM has the sum over its vCPUs.
package enum KernelCounter {
    /// By the code of a ``CounterKind/kernelCounter``.
    package static let names = [
        "exits", "io_exits", "mmio_exits", "irq_exits", "halt_exits", "signal_exits", "request_irq_exits",
        "irq_window_exits", "nmi_window_exits", "notify_window_exits", "hypercalls", "insn_emulation",
        "irq_injections", "nmi_injections", "halt_successful_poll", "halt_attempted_poll",
    ]
    /// The place of the one that counts all exits.
    package static let all = 0
    package static let interrupts = 12
    package static let polled = 14
    package static let pollTried = 15
}
