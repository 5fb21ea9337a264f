/// What an emulated hypervisor's exit is about: the payload of KVM_EXIT_HYPERV and KVM_EXIT_XEN by its kind.
///
/// Source: `struct kvm_hyperv_exit` and `struct kvm_xen_exit` in include/uapi/linux/kvm.h.
public struct HypervisorExit: Sendable, Hashable {
    /// A field by the kernel's name of it.
    public struct Field: Sendable, Hashable {
        /// The kernel's name, as "control".
        public var name: String
        /// What the kernel put there.
        public var value: UInt64
        /// - Parameters:
        ///   - name: the kernel's name.
        ///   - value: what the kernel put there.
        public init(_ name: String, _ value: UInt64) {
            self.name = name
            self.value = value
        }
    }
    /// As "HCALL": the kernel's name without `KVM_EXIT_HYPERV_` or `KVM_EXIT_XEN_`.
    public var name: String
    /// In the structure's order.
    public var fields: [Field]

    fileprivate init(
        _ name: String, _ words: [(String, at: Int)], halves: [(String, at: Int)], _ bytes: [UInt8]
    ) {
        self.name = name
        fields =
            halves.map { Field($0.0, UInt64(bytes.load($0.at, as: UInt32.self))) }
            + words.map { Field($0.0, bytes.load($0.at)) }
    }
}

extension VCPUExit {
    /// The payload of ``hyperV(type:payload:)`` and ``xen(type:payload:)`` by name; nil for a type that is newer
    /// than this list, and for all other exits.
    public var hypervisor: HypervisorExit? {
        switch self {
        case .hyperV(1, let payload):
            HypervisorExit(
                "SYNIC", [("control", at: 8), ("evt_page", at: 16), ("msg_page", at: 24)],
                halves: [("msr", at: 0)], payload)
        case .hyperV(2, let payload):
            HypervisorExit(
                "HCALL",
                [("input", at: 0), ("result", at: 8), ("params[0]", at: 16), ("params[1]", at: 24)],
                halves: [], payload)
        case .hyperV(3, let payload):
            HypervisorExit(
                "SYNDBG",
                [
                    ("control", at: 8), ("status", at: 16), ("send_page", at: 24), ("recv_page", at: 32),
                    ("pending_page", at: 40),
                ], halves: [("msr", at: 0)], payload)
        case .xen(1, let payload):
            HypervisorExit(
                "HCALL",
                [("input", at: 8), ("result", at: 16)] + (0..<6).map { ("params[\($0)]", at: 24 + $0 * 8) },
                halves: [("longmode", at: 0), ("cpl", at: 4)], payload)
        default: nil
        }
    }
}
